-- asks:    How many of the annotated objects have a box and no mask?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- only annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
-- uses:    eval/objects
-- reads:   objects
-- grain:   one row
-- columns: objects, without_mask
SELECT count(*) AS objects, count(*) FILTER (WHERE rle IS NULL) AS without_mask
FROM objects
