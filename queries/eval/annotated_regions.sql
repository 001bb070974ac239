-- asks:    Which pixels are annotated with each class?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- only annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
-- uses:    eval/objects, eval/unclear_pixels
-- reads:   objects, unclear_pixels
-- grain:   one row per image and class
-- columns: image_id, class_index, rle, clear
-- notes:   image_id, class_index, rle, clear (rle without the pixels that are ignored)
WITH regions AS (
    SELECT image_id, class_index, rle_union(rle) AS rle
    FROM objects
    WHERE NOT iscrowd AND rle IS NOT NULL
    GROUP BY image_id, class_index
)
SELECT r.image_id, r.class_index, r.rle, coalesce(rle_difference(r.rle, u.rle), r.rle) AS clear
FROM regions r
LEFT JOIN unclear_pixels u ON r.image_id = u.image_id
