-- asks:    Which pixels are annotated with each class?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- only annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
-- uses:    eval/objects
-- reads:   objects
-- grain:   one row per image and class
-- columns: image_id, class_index, rle
-- notes:   image_id, class_index, rle (with pixels that are ignored: eval/unclear_pixels)
SELECT image_id, class_index, rle_union(rle) AS rle
FROM objects
WHERE NOT iscrowd AND rle IS NOT NULL
GROUP BY image_id, class_index
