-- asks:    Which pixels are annotated with each class?
-- params:  head HEAD                     -- name of the head, or the first digits of its id
--          dataset ANNOTATED = NULL      -- annotations of this data set
--          split SPLIT = NULL            -- images of this split only
--          classes CLASS_SET(head) = own -- evaluate in the classes of this set: NAME, its newest version, or NAME@VERSION; own: the head's
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
