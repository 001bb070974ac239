-- asks:    Is one head's mean IoU higher than another's, or could the choice of images explain it?
-- params:  head HEAD                           -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL            -- compare with annotations of this data set
--          split SPLIT = NULL                  -- only images of this split
--          classes CLASS_SET(head) = own       -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest        -- first digits of the policy's id; newest: the one that was used last
--          other HEAD                          -- the head to compare with: its name, or the first digits of its id
--          other_policy POLICY(other) = newest -- the other head's policy; newest: the one that was used last
--          replicates BIGINT = 1000            -- bootstrap samples of the images, the same for both heads
--          seed BIGINT = 0                     -- seed of the samples
-- uses:    eval/image_pixels, eval/image_pixels AS other_pixels (head = other; policy = other_policy),
--          eval/evaluated_images
-- reads:   evaluated_images, image_pixels, other_pixels
-- grain:   one row per metric
-- columns: metric, value, other_value, difference, ci_low, ci_high
-- notes:   metric (miou, miou_classes), value, other_value, difference, ci_low, ci_high (of the difference, 95
--          %)
WITH drawn AS (
    -- Replicate 0 takes each image once.
    SELECT i.image_id, r.replicate,
           CASE WHEN r.replicate = 0 THEN 1 ELSE bootstrap_weight($seed, r.replicate, i.image_order) END AS weight
    FROM evaluated_images i
    CROSS JOIN (SELECT unnest(range(0, $replicates + 1)) AS replicate) r
), pixels AS (
    SELECT 1 AS which, image_id, class_index, found, missed, claimed FROM image_pixels
    UNION ALL
    SELECT 2, image_id, class_index, found, missed, claimed FROM other_pixels
), sums AS (
    SELECT p.which, d.replicate, p.class_index,
           sum(d.weight * p.found) AS found, sum(d.weight * (p.found + p.missed)) AS annotated,
           sum(d.weight * p.claimed) AS claimed
    FROM pixels p
    JOIN drawn d ON p.image_id = d.image_id
    WHERE d.weight > 0
    GROUP BY p.which, d.replicate, p.class_index
), means AS (
    SELECT which, replicate,
           avg(CAST(found AS DOUBLE) / (annotated + claimed)) AS miou,
           avg(CAST(found AS DOUBLE) / (annotated + claimed)) FILTER (WHERE class_index >= 0) AS miou_classes
    FROM sums
    WHERE annotated > 0
    GROUP BY which, replicate
), both AS (
    SELECT replicate,
           max(miou) FILTER (WHERE which = 1) AS miou, max(miou) FILTER (WHERE which = 2) AS other_miou,
           max(miou_classes) FILTER (WHERE which = 1) AS classes, max(miou_classes) FILTER (WHERE which = 2) AS other_classes
    FROM means
    GROUP BY replicate
), pairs AS (
    SELECT h.metric, b.replicate, CASE h.metric WHEN 'miou' THEN b.miou ELSE b.classes END AS value,
           CASE h.metric WHEN 'miou' THEN b.other_miou ELSE b.other_classes END AS other_value,
           CASE h.metric WHEN 'miou' THEN b.miou - b.other_miou ELSE b.classes - b.other_classes END AS difference
    FROM both b
    CROSS JOIN (VALUES ('miou'), ('miou_classes')) AS h (metric)
)
SELECT metric,
       max(value) FILTER (WHERE replicate = 0) AS value,
       max(other_value) FILTER (WHERE replicate = 0) AS other_value,
       max(difference) FILTER (WHERE replicate = 0) AS difference,
       percentile_cont(difference, 0.025) FILTER (WHERE replicate > 0) AS ci_low,
       percentile_cont(difference, 0.975) FILTER (WHERE replicate > 0) AS ci_high
FROM pairs
GROUP BY metric
ORDER BY metric
