-- asks:    Under which policy were masks last annotated with a head?
-- params:  head TEXT          -- name of the head, or its id
--          policy TEXT = NULL -- id of the policy; NULL: the one annotated with last
-- uses:    annotate/chosen_head
-- reads:   chosen_head, predictions
-- grain:   one row
-- columns: head_id, policy_id
SELECT p.head_id, p.policy_id
FROM predictions p
JOIN chosen_head h ON p.head_id = h.head_id
WHERE $policy IS NULL OR p.policy_id = $policy
GROUP BY p.head_id, p.policy_id
ORDER BY max(p.created_at) DESC, p.policy_id
LIMIT 1
