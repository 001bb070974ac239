-- asks:    Which object of another image is most like each object of coco-mini's val, among those of val and of train?
-- params:  extractor EXTRACTOR -- first digits of its id; its masks contain the annotated objects
-- reads:   ground_truth, images, class_sets, masks, vectors.efficientnet_lite0
-- grain:   one row per object of val and split of the neighbour
-- columns: image_id, ground_truth_id, category, area, among, neighbour, similarity
WITH wanted AS (
    SELECT g.ground_truth_id, g.image_id, i.split, g.category, g.area, g.rle
    FROM ground_truth g
    JOIN images i ON g.image_id = i.image_id
    JOIN (SELECT unnest(labels) AS label FROM class_sets WHERE class_set = 'voc' AND version = 1) c ON g.category = c.label
    WHERE NOT g.iscrowd
), pairs AS (
    SELECT w.ground_truth_id, m.mask_index,
           row_number() OVER (PARTITION BY w.ground_truth_id ORDER BY rle_iou(m.rle, w.rle) DESC, m.mask_index) AS place
    FROM wanted w
    JOIN masks m ON w.image_id = m.image_id
    WHERE m.extractor_id = $extractor
), objects AS (
    SELECT w.ground_truth_id, w.image_id, w.split, w.category, w.area, v.vector
    FROM wanted w
    JOIN pairs p ON w.ground_truth_id = p.ground_truth_id
    JOIN vectors.efficientnet_lite0 v ON w.image_id = v.image_id AND p.mask_index = v.mask_index
    WHERE p.place = 1 AND v.extractor_id = $extractor
), alike AS (
    SELECT a.image_id, a.ground_truth_id, a.category, a.area, b.split AS among, b.category AS neighbour,
           b.ground_truth_id AS neighbour_id, cosine_similarity(a.vector, b.vector) AS similarity
    FROM objects a
    JOIN objects b ON a.image_id <> b.image_id
    WHERE a.split = 'val'
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY ground_truth_id, among ORDER BY similarity DESC, neighbour_id) AS place
    FROM alike
)
SELECT image_id, ground_truth_id, category, area, among, neighbour, similarity
FROM ranked
WHERE place = 1
ORDER BY ground_truth_id, among
