-- asks:    Which figures of an evaluation stand in more than one row?
-- params:  none
-- reads:   evaluations
-- grain:   one row per repeated figure
-- columns: evaluation_id, head_id, report, dataset, slice, class, metric, rows
SELECT evaluation_id, head_id, report, dataset, slice, class, metric, count(*) AS rows
FROM evaluations
GROUP BY evaluation_id, head_id, report, dataset, slice, class, metric
HAVING count(*) > 1
