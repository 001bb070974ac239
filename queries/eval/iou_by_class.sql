-- asks:    How well do the annotated pixels of each class agree with the predicted ones?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compare with annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
-- uses:    eval/pixel_counts
-- reads:   pixel_counts
-- grain:   one row per class, the background first
-- columns: class, metric, value
-- notes:   class, metric (iou), value (null for a class that is not annotated)
SELECT class, 'iou' AS metric, iou AS value
FROM pixel_counts
ORDER BY class_index
