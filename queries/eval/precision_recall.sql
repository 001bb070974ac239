-- asks:    How do precision and recall of each class change with the score?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compare with annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
--          iou ONE_OF(mask|box) = mask   -- IoU of masks or of boxes
--          at DOUBLE = 0.5               -- IoU at which a detection is right (0.5, 0.55, ..., 0.95)
-- uses:    eval/matches, eval/object_counts
-- reads:   matches, object_counts
-- grain:   one row per class and detection that counts, best first
-- columns: class, score, correct, precision, recall, f1
-- notes:   class, score, correct, precision, recall, f1 (of all detections with this score or a higher one)
WITH counted AS (
    SELECT class_index, class, score, image_order, rank,
           (matched >> CAST(round(($at - 0.5) * 20) AS INT)) & 1 AS correct
    FROM matches
    WHERE area = 'all' AND ((ignored >> CAST(round(($at - 0.5) * 20) AS INT)) & 1) = 0
), ranked AS (
    SELECT class_index, class, score, correct,
           row_number() OVER surest AS detections,
           sum(correct) OVER surest AS found
    FROM counted
    WINDOW surest AS (PARTITION BY class_index ORDER BY score DESC, image_order, rank
                      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
SELECT r.class, r.score, r.correct = 1 AS correct,
       CAST(r.found AS DOUBLE) / r.detections AS precision,
       CAST(r.found AS DOUBLE) / c.objects AS recall,
       2.0 * r.found / (r.detections + c.objects) AS f1
FROM ranked r
JOIN object_counts c ON r.class_index = c.class_index AND c.area = 'all'
ORDER BY r.class_index, r.detections
