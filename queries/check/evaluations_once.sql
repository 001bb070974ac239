-- asks:    Which metrics of an evaluation are in more than one row?
-- params:  none
-- reads:   evaluations
-- grain:   one row per repeated metric
-- columns: evaluation_id, head_id, query, dataset, slice, class, metric, rows
SELECT evaluation_id, head_id, query, dataset, slice, class, metric, count(*) AS rows
FROM evaluations
GROUP BY evaluation_id, head_id, query, dataset, slice, class, metric
HAVING count(*) > 1
