-- asks:    Which keys of failures are in more than one row?
-- params:  none
-- reads:   failures
-- grain:   one row per repeated key
-- columns: failure_id, rows
SELECT failure_id, count(*) AS rows
FROM failures
GROUP BY failure_id
HAVING count(*) > 1
