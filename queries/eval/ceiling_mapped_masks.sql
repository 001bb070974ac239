-- asks:    Which masks would make up the semantic maps of the best head that there could be?
-- params:  head HEAD                       -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL        -- only annotations of this data set
--          split SPLIT = NULL              -- only images of this split
--          classes CLASS_SET(head) = own   -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          extractor EXTRACTOR = NULL      -- first digits of the id of the extractor of the masks; NULL: the head's own
-- uses:    eval/ceiling_detections
-- reads:   ceiling_detections
-- grain:   one row per mask that fits some object best, and more than half of which is the object's
-- columns: image_id, class_index, mask_index, score, tau, rle
-- notes:   the columns of eval/mapped_masks; masks are painted over each other, that of the greatest IoU last
SELECT image_id, class_index, mask_index, score, CAST(NULL AS DOUBLE) AS tau, rle
FROM ceiling_detections
WHERE share > 0.5
