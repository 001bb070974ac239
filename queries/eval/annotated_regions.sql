-- asks:    Which pixels are annotated with each class?
-- params:  head TEXT           -- name of the head, or its id
--          dataset TEXT = NULL -- annotations of this data set
--          split TEXT = NULL   -- images of this split only
--          classes TEXT = NULL -- judge in the classes of this set, not in the head's own
-- uses:    eval/objects, eval/unclear_pixels
-- reads:   objects, unclear_pixels
-- grain:   one row per image and class
-- columns: image_id, class_index, rle, clear
-- notes:   image_id, class_index, rle, clear (rle without the pixels that are not judged)
WITH regions AS (
    SELECT image_id, class_index, rle_union(rle) AS rle
    FROM objects
    WHERE NOT iscrowd AND rle IS NOT NULL
    GROUP BY image_id, class_index
)
SELECT r.image_id, r.class_index, r.rle, coalesce(rle_difference(r.rle, u.rle), r.rle) AS clear
FROM regions r
LEFT JOIN unclear_pixels u ON r.image_id = u.image_id
