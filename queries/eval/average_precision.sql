-- asks:    What is the average precision of each class, at each IoU and in each area range?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compare with annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
--          iou ONE_OF(mask|box) = mask   -- IoU of masks or of boxes
-- uses:    eval/matches, eval/object_counts
-- reads:   matches, object_counts
-- grain:   one row per class with objects, area range and IoU
-- columns: class_index, class, area, iou, objects, ap, recall_1, recall_10, recall_100
-- notes:   class_index, class, area, iou (0.5 + 0.05 t), objects, ap (101 points), recall_1, recall_10,
--          recall_100 (maximum recall with at most 1, 10 or 100 detections per image)
WITH thresholds AS (
    SELECT t, CAST(50 + 5 * t AS DOUBLE) / 100 AS iou
    FROM (SELECT unnest(range(0, 10)) AS t)
), accumulated AS (
    SELECT m.class_index, m.area,
           accumulate_matches(m.score, m.image_order, m.rank, m.matched, m.ignored, c.objects) AS at
    FROM matches m
    JOIN object_counts c ON m.class_index = c.class_index AND m.area = c.area
    GROUP BY m.class_index, m.area
)
SELECT c.class_index, c.class, c.area, h.iou, c.objects,
       coalesce(a.at[h.t + 1]['ap'], 0) AS ap,
       coalesce(a.at[h.t + 1]['recall_1'], 0) AS recall_1,
       coalesce(a.at[h.t + 1]['recall_10'], 0) AS recall_10,
       coalesce(a.at[h.t + 1]['recall_100'], 0) AS recall_100
FROM object_counts c
CROSS JOIN thresholds h
LEFT JOIN accumulated a ON c.class_index = a.class_index AND c.area = a.area
ORDER BY c.class_index, c.area, h.t
