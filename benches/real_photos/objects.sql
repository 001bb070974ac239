-- asks:    Which of an extractor's masks is nearest to each annotated object, and how near?
-- params:  extractor EXTRACTOR -- first digits of its id
-- reads:   ground_truth, images, masks
-- grain:   one row per object that is no crowd, of an image that has masks
-- columns: split, image_id, ground_truth_id, category, area, mask_index, iou
WITH pairs AS (
    SELECT i.split, g.image_id, g.ground_truth_id, g.category, g.area, m.mask_index, rle_iou(m.rle, g.rle) AS iou
    FROM ground_truth g
    JOIN images i ON g.image_id = i.image_id
    JOIN masks m ON g.image_id = m.image_id
    WHERE NOT g.iscrowd AND m.extractor_id = $extractor
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY ground_truth_id ORDER BY iou DESC, mask_index) AS place
    FROM pairs
)
SELECT split, image_id, ground_truth_id, category, area, mask_index, iou
FROM ranked
WHERE place = 1
ORDER BY image_id, ground_truth_id
