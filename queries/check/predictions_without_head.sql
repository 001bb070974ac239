-- asks:    Which rows of predictions are of a head the store does not have? ('heads rm' takes a head's predictions along.)
-- params:  none
-- reads:   predictions, heads
-- grain:   one row per head that is not there
-- columns: head_id, rows
SELECT p.head_id, count(*) AS rows
FROM predictions AS p
LEFT ANTI JOIN heads AS h ON p.head_id = h.head_id
GROUP BY p.head_id
