-- asks:    At which score threshold is each class's F1 highest?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compare with annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
--          iou ONE_OF(mask|box) = mask   -- IoU of masks or of boxes
--          at DOUBLE = 0.5               -- IoU at which a detection is right (0.5, 0.55, ..., 0.95)
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
