-- asks:    Is one head's average precision higher than another's, or could the choice of images explain it?
-- params:  head HEAD                           -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL            -- compare with annotations of this data set
--          split SPLIT = NULL                  -- only images of this split
--          classes CLASS_SET(head) = own       -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest        -- first digits of the policy's id; newest: the one that was used last
--          iou ONE_OF(mask|box) = mask         -- IoU of masks or of boxes
--          other HEAD                          -- the head to compare with: its name, or the first digits of its id
--          other_policy POLICY(other) = newest -- the other head's policy; newest: the one that was used last
--          replicates BIGINT = 200             -- bootstrap samples of the images, the same for both heads
--          seed BIGINT = 0                     -- seed of the samples
-- uses:    eval/matches, eval/matches AS other_matches (head = other; policy = other_policy), eval/objects,
--          eval/evaluated_images
-- reads:   evaluated_images, objects, matches, other_matches
-- grain:   one row
-- columns: metric, value, other_value, difference, ci_low, ci_high
-- notes:   metric (ap50; for boxes box_ap50), value, other_value, difference, ci_low, ci_high (of the
--          difference, 95 %)
WITH drawn AS (
    -- Replicate 0 takes each image once.
    SELECT i.image_id, r.replicate,
           CASE WHEN r.replicate = 0 THEN 1 ELSE bootstrap_weight($seed, r.replicate, i.image_order) END AS weight
    FROM evaluated_images i
    CROSS JOIN (SELECT unnest(range(0, $replicates + 1)) AS replicate) r
), wanted AS (
    SELECT o.class_index, d.replicate, sum(d.weight) AS objects
    FROM objects o
    JOIN drawn d ON o.image_id = d.image_id
    WHERE NOT o.iscrowd AND d.weight > 0 AND ($iou = 'box' OR o.rle IS NOT NULL)
    GROUP BY o.class_index, d.replicate
), counted AS (
    SELECT 1 AS which, class_index, image_id, image_order, rank, score, matched & 1 AS correct
    FROM matches
    WHERE area = 'all' AND (ignored & 1) = 0
    UNION ALL
    SELECT 2, class_index, image_id, image_order, rank, score, matched & 1
    FROM other_matches
    WHERE area = 'all' AND (ignored & 1) = 0
), ranked AS (
    SELECT c.which, d.replicate, c.class_index, c.correct, d.weight,
           sum(d.weight) OVER surest AS detections,
           sum(d.weight * c.correct) OVER surest AS found
    FROM counted c
    JOIN drawn d ON c.image_id = d.image_id
    WHERE d.weight > 0
    WINDOW surest AS (PARTITION BY c.which, d.replicate, c.class_index ORDER BY c.score DESC, c.image_order, c.rank
                      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
), steps AS (
    SELECT r.which, r.replicate, r.class_index, r.found,
           max(CAST(r.found AS DOUBLE) / r.detections) OVER (
               PARTITION BY r.which, r.replicate, r.class_index ORDER BY r.found DESC
               ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS precision,
           CAST(r.found AS DOUBLE) / w.objects AS recall,
           CASE WHEN r.found > r.weight THEN CAST(r.found - r.weight AS DOUBLE) / w.objects END AS recall_before
    FROM ranked r
    JOIN wanted w ON r.replicate = w.replicate AND r.class_index = w.class_index
    WHERE r.correct = 1
), interpolated AS (
    -- As accumulate_matches() does: how many of the recalls 0, 0.01, ..., 1 lie above the recall before and not above this one.
    SELECT which, replicate, class_index,
           sum(precision * (round(recall * 100) + CASE WHEN round(recall * 100) * 0.01 <= recall THEN 1 ELSE 0 END
               - coalesce(round(recall_before * 100)
                          + CASE WHEN round(recall_before * 100) * 0.01 <= recall_before THEN 1 ELSE 0 END, 0))) / 101 AS ap
    FROM steps
    GROUP BY which, replicate, class_index
), means AS (
    SELECT h.which, w.replicate, avg(coalesce(i.ap, 0)) AS ap
    FROM wanted w
    CROSS JOIN (VALUES (1), (2)) AS h (which)
    LEFT JOIN interpolated i ON w.replicate = i.replicate AND w.class_index = i.class_index AND h.which = i.which
    GROUP BY h.which, w.replicate
), pairs AS (
    SELECT a.replicate, a.ap AS value, b.ap AS other_value, a.ap - b.ap AS difference
    FROM means a
    JOIN means b ON a.replicate = b.replicate
    WHERE a.which = 1 AND b.which = 2
)
SELECT concat(CASE WHEN $iou = 'box' THEN 'box_' ELSE '' END, 'ap50') AS metric,
       max(value) FILTER (WHERE replicate = 0) AS value,
       max(other_value) FILTER (WHERE replicate = 0) AS other_value,
       max(difference) FILTER (WHERE replicate = 0) AS difference,
       percentile_cont(difference, 0.025) FILTER (WHERE replicate > 0) AS ci_low,
       percentile_cont(difference, 0.975) FILTER (WHERE replicate > 0) AS ci_high
FROM pairs
