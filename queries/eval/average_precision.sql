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
), counted AS (
    -- Detections that count at a threshold, and whether they are right.
    SELECT m.class_index, m.area, h.t, m.score, m.image_order, m.rank, (m.matched >> h.t) & 1 AS correct
    FROM matches m
    JOIN thresholds h ON ((m.ignored >> h.t) & 1) = 0
), ranked AS (
    SELECT class_index, area, t, rank, correct,
           row_number() OVER surest AS detections,
           sum(correct) OVER surest AS found
    FROM counted
    WINDOW surest AS (PARTITION BY class_index, area, t ORDER BY score DESC, image_order, rank
                      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
), steps AS (
    -- Recall rises with each right detection, and precision is highest there.
    SELECT r.class_index, r.area, r.t, r.found,
           CAST(r.found AS DOUBLE) / r.detections AS precision,
           CAST(r.found AS DOUBLE) / c.objects AS recall,
           CAST(r.found - 1 AS DOUBLE) / c.objects AS recall_before
    FROM ranked r
    JOIN object_counts c ON r.class_index = c.class_index AND r.area = c.area
    WHERE r.correct = 1
), envelope AS (
    SELECT class_index, area, t,
           -- The best precision at this recall or a higher one.
           max(precision) OVER (PARTITION BY class_index, area, t ORDER BY found DESC
                                ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS precision,
           -- How many of the recalls 0, 0.01, ..., 1 are not above this one, and the one before.
           round(recall * 100) + CASE WHEN round(recall * 100) * 0.01 <= recall THEN 1 ELSE 0 END AS points,
           CASE WHEN found = 1 THEN 0
                ELSE round(recall_before * 100)
                     + CASE WHEN round(recall_before * 100) * 0.01 <= recall_before THEN 1 ELSE 0 END
           END AS points_before
    FROM steps
), interpolated AS (
    SELECT class_index, area, t, sum(precision * (points - points_before)) / 101 AS ap
    FROM envelope
    GROUP BY class_index, area, t
), recalls AS (
    SELECT class_index, area, t,
           sum(correct) FILTER (WHERE rank < 1) AS found_1,
           sum(correct) FILTER (WHERE rank < 10) AS found_10,
           sum(correct) AS found_100
    FROM counted
    GROUP BY class_index, area, t
)
SELECT c.class_index, c.class, c.area, h.iou, c.objects,
       coalesce(i.ap, 0) AS ap,
       coalesce(CAST(r.found_1 AS DOUBLE), 0) / c.objects AS recall_1,
       coalesce(CAST(r.found_10 AS DOUBLE), 0) / c.objects AS recall_10,
       coalesce(CAST(r.found_100 AS DOUBLE), 0) / c.objects AS recall_100
FROM object_counts c
CROSS JOIN thresholds h
LEFT JOIN interpolated i ON c.class_index = i.class_index AND c.area = i.area AND h.t = i.t
LEFT JOIN recalls r ON c.class_index = r.class_index AND c.area = r.area AND h.t = r.t
ORDER BY c.class_index, c.area, h.t
