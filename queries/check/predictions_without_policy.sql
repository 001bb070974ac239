-- asks:    Which rows of predictions are under a policy that the store does not have?
-- params:  none
-- reads:   predictions, policies
-- grain:   one row per missing policy
-- columns: policy_id, rows
SELECT p.policy_id, count(*) AS rows
FROM predictions AS p
LEFT ANTI JOIN policies AS o ON p.policy_id = o.policy_id
GROUP BY p.policy_id
