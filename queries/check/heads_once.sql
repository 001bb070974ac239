-- asks:    Which keys of heads are in more than one row?
-- params:  none
-- reads:   heads
-- grain:   one row per repeated key
-- columns: head_id, rows
SELECT head_id, count(*) AS rows
FROM heads
GROUP BY head_id
HAVING count(*) > 1
