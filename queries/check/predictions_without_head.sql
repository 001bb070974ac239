-- asks:    Which rows of predictions are of a head that the store does not have? ('heads rm' removes them, too.)
-- params:  none
-- reads:   predictions, heads
-- grain:   one row per missing head
-- columns: head_id, rows
SELECT p.head_id, count(*) AS rows
FROM predictions AS p
LEFT ANTI JOIN heads AS h ON p.head_id = h.head_id
GROUP BY p.head_id
