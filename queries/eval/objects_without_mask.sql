-- asks:    How many of the annotated objects have a box and no mask?
-- params:  head HEAD                     -- name of the head, or the first digits of its id
--          dataset ANNOTATED = NULL      -- annotations of this data set
--          split SPLIT = NULL            -- images of this split only
--          classes CLASS_SET(head) = own -- evaluate in the classes of this set: NAME, its newest version, or NAME@VERSION; own: the head's
-- uses:    eval/objects
-- reads:   objects
-- grain:   one row
-- columns: objects, without_mask
SELECT count(*) AS objects, count(*) FILTER (WHERE rle IS NULL) AS without_mask
FROM objects
