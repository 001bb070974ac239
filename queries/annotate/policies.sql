-- asks:    With which policies were masks annotated?
-- params:  head HEAD = NULL -- only this head
-- reads:   predictions, policies
-- grain:   one row per head and policy, newest first
-- columns: head_id, policy_id, policy, images, masks, kept, annotated_at
SELECT p.head_id, p.policy_id, o.policy, p.images, p.masks, p.kept, p.annotated_at
FROM (
    SELECT head_id, policy_id,
           count(DISTINCT image_id) AS images,
           count(*) AS masks,
           count(*) FILTER (WHERE kept) AS kept,
           max(created_at) AS annotated_at
    FROM predictions
    WHERE $head IS NULL OR head_id = $head
    GROUP BY head_id, policy_id
) p
JOIN policies o ON p.policy_id = o.policy_id
ORDER BY p.annotated_at DESC, p.policy_id
