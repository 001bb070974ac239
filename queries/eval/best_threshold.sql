-- asks:    At which score threshold is each class's F1 greatest?
-- params:  head TEXT           -- name of the head, or its id
--          dataset TEXT = NULL -- held against annotations of this data set
--          split TEXT = NULL   -- images of this split only
--          classes TEXT = NULL -- judge in the classes of this set, not in the head's own
--          policy TEXT = NULL  -- id of the policy; NULL: the one annotated with last
--          iou TEXT = mask     -- overlap of masks ('mask') or of boxes ('box')
--          at DOUBLE = 0.5     -- IoU from which a detection is right (0.5, 0.55, ..., 0.95)
-- uses:    eval/precision_recall
-- reads:   precision_recall
-- grain:   one row per class with objects and detections
-- columns: class, score_threshold, f1, precision, recall
WITH ordered AS (
    SELECT class, score, f1, precision, recall,
           row_number() OVER (PARTITION BY class ORDER BY f1 DESC, score DESC) AS place
    FROM precision_recall
)
SELECT class, score AS score_threshold, f1, precision, recall
FROM ordered
WHERE place = 1
ORDER BY class
