-- asks:    At which score threshold is each class's F1 greatest?
-- params:  head HEAD                     -- name of the head, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compared with annotations of this data set
--          split SPLIT = NULL            -- images of this split only
--          classes CLASS_SET(head) = own -- evaluate in the classes of this set: NAME, its newest version, or NAME@VERSION; own: the head's
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
--          iou ONE_OF(mask|box) = mask   -- overlap of masks or of boxes
--          at DOUBLE = 0.5               -- IoU from which a detection is right (0.5, 0.55, ..., 0.95)
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
