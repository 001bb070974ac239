-- asks:    Which masks of labelled images show the images' classes, and which show the background, as a head sees it?
-- params:  head HEAD                    -- the head's name, or the first digits of its id
--          policy POLICY(head) = newest -- first digits of the policy's id; newest: the one that was used last
-- uses:    train/scored_masks
-- reads:   scored_masks, masks
-- grain:   one row per mask that shows a class of its image, or none
-- columns: image_id, mask_index, class_index, iou
-- notes:   class_index (null for the background), iou (with the best mask of a class of the image). Of each image and
--          class the mask with the greatest score x predicted IoU is taken to show it, unless a mask that is called by a
--          class that the image does not have is greater: then the object may be that one, and nothing is said of the
--          class. Masks with an IoU of at least 0.5 with it show it too, masks below 0.1 with all of them are background,
--          the rest is left out. The third phase of 'train' runs this query over its student's scores
WITH valued AS (
    SELECT s.image_id, s.extractor_id, s.mask_index, s.class_index, s.is_on_image,
           s.score * coalesce(m.predicted_iou, 1.0) AS value
    FROM scored_masks s
    JOIN masks m
        ON m.image_id = s.image_id AND m.extractor_id = s.extractor_id AND m.mask_index = s.mask_index
), wrong AS (
    SELECT image_id, max(value) AS value
    FROM valued
    WHERE NOT is_on_image
    GROUP BY image_id
), ranked AS (
    SELECT image_id, extractor_id, mask_index, class_index, value,
           row_number() OVER (PARTITION BY image_id, class_index ORDER BY value DESC, mask_index) AS place
    FROM valued
    WHERE is_on_image
), seeds AS (
    SELECT r.image_id, r.class_index, m.rle
    FROM ranked r
    JOIN masks m
        ON m.image_id = r.image_id AND m.extractor_id = r.extractor_id AND m.mask_index = r.mask_index
    LEFT JOIN wrong w ON w.image_id = r.image_id
    WHERE r.place = 1 AND (w.value IS NULL OR w.value <= r.value)
), used AS (
    -- The scored extractor's masks, and those that people added beside them.
    SELECT DISTINCT extractor_id FROM scored_masks
), compared AS (
    SELECT m.image_id, m.mask_index, s.class_index, rle_iou(m.rle, s.rle) AS iou
    FROM seeds s
    JOIN (
        SELECT k.image_id, k.mask_index, k.rle
        FROM used u
        JOIN masks k ON u.extractor_id = k.extractor_id
    ) m ON m.image_id = s.image_id
)
SELECT image_id, mask_index,
       CASE WHEN max(iou) >= 0.5 THEN first_value(class_index ORDER BY iou DESC, class_index) END AS class_index,
       max(iou) AS iou
FROM compared
GROUP BY image_id, mask_index
HAVING max(iou) >= 0.5 OR max(iou) < 0.1
