-- asks:    Which keys of ground_truth are in more than one row?
-- params:  none
-- reads:   ground_truth
-- grain:   one row per repeated key
-- columns: ground_truth_id, rows
SELECT ground_truth_id, count(*) AS rows
FROM ground_truth
GROUP BY ground_truth_id
HAVING count(*) > 1
