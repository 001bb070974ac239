-- asks:    Which keys of evaluations stand in more than one row?
-- params:  none
-- reads:   evaluations
-- grain:   one row per repeated key
-- columns: evaluation_id, report, slice, class, metric, rows
SELECT evaluation_id, report, slice, class, metric, count(*) AS rows
FROM evaluations
GROUP BY evaluation_id, report, slice, class, metric
HAVING count(*) > 1
