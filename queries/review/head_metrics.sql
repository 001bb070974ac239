-- asks:    How did each head do when it was last evaluated?
-- params:  none
-- reads:   evaluations
-- grain:   one row per head and data set that it was evaluated on
-- columns: head_id, dataset, miou, ap50, evaluated_at
-- notes:   miou and ap50 (over all images and classes; null where the last evaluation has none), evaluated_at (UTC)
WITH newest AS (
    SELECT head_id, dataset, metric, value, created_at, row_number() OVER (
        PARTITION BY head_id, dataset, metric
        ORDER BY created_at DESC, evaluation_id DESC
    ) AS place
    FROM evaluations
    WHERE slice IS NULL AND class IS NULL AND metric IN ('miou', 'ap50')
)
SELECT head_id, dataset,
       max(value) FILTER (WHERE metric = 'miou') AS miou,
       max(value) FILTER (WHERE metric = 'ap50') AS ap50,
       max(created_at) AS evaluated_at
FROM newest
WHERE place = 1
GROUP BY head_id, dataset
ORDER BY evaluated_at, head_id, dataset
