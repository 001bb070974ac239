-- asks:    Which keys of embedders are in more than one row?
-- params:  none
-- reads:   embedders
-- grain:   one row per repeated key
-- columns: embedder_id, rows
SELECT embedder_id, count(*) AS rows
FROM embedders
GROUP BY embedder_id
HAVING count(*) > 1
