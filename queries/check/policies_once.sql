-- asks:    Which keys of policies are in more than one row?
-- params:  none
-- reads:   policies
-- grain:   one row per repeated key
-- columns: policy_id, rows
SELECT policy_id, count(*) AS rows
FROM policies
GROUP BY policy_id
HAVING count(*) > 1
