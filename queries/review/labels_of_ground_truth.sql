-- asks:    What do the annotated objects of a data set say that masks show?
-- params:  dataset ANNOTATED     -- the data set
--          extractor EXTRACTOR   -- first digits of the id of the extractor of the masks
-- reads:   masks, ground_truth
-- grain:   one row per mask that is an object, or far from all objects
-- columns: image_id, extractor_id, mask_index, label, iou
-- notes:   label (category of the object with the greatest IoU, if it is at least 0.5; null, for none of any class, where
--          every IoU is below 0.1), iou. Masks between the two, and masks that overlap a crowd or an ignored region, are
--          left out
WITH compared AS (
    SELECT m.image_id, m.extractor_id, m.mask_index, g.category, g.iscrowd OR g.is_ignored AS unclear,
           coalesce(rle_iou(m.rle, g.rle, g.iscrowd), 0.0) AS iou
    FROM masks m
    JOIN ground_truth g ON m.image_id = g.image_id
    WHERE m.extractor_id = $extractor AND g.dataset = $dataset AND g.rle IS NOT NULL
), found AS (
    SELECT image_id, extractor_id, mask_index, max(iou) AS iou,
           max(CASE WHEN unclear THEN iou ELSE 0.0 END) AS unclear,
           first_value(category ORDER BY iou DESC, category) AS category
    FROM compared
    GROUP BY image_id, extractor_id, mask_index
)
SELECT image_id, extractor_id, mask_index, CASE WHEN iou >= 0.5 THEN category END AS label, iou
FROM found
WHERE (iou >= 0.5 OR iou < 0.1) AND unclear < 0.1
