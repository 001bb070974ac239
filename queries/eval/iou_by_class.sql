-- asks:    How well do the annotated pixels of each class agree with the predicted ones?
-- params:  head TEXT           -- name of the head, or its id
--          dataset TEXT = NULL -- held against annotations of this data set
--          split TEXT = NULL   -- images of this split only
--          classes TEXT = NULL -- judge in the classes of this set, not in the head's own
--          policy TEXT = NULL  -- id of the policy; NULL: the one annotated with last
-- uses:    eval/pixel_counts
-- reads:   pixel_counts
-- grain:   one row per class, the background first
-- columns: class, metric, value
-- notes:   class, metric (iou), value (null for a class that is not annotated)
SELECT class, 'iou' AS metric, iou AS value
FROM pixel_counts
ORDER BY class_index
