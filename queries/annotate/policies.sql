-- asks:    With which policies were masks annotated?
-- params:  head_id TEXT = NULL -- only this head, by its id
-- reads:   predictions
-- grain:   one row per head and policy, newest first
-- columns: head_id, policy_id, policy, images, masks, kept, annotated_at
SELECT head_id, policy_id,
       max(policy) AS policy,
       count(DISTINCT image_id) AS images,
       count(*) AS masks,
       count(*) FILTER (WHERE kept) AS kept,
       max(created_at) AS annotated_at
FROM predictions
WHERE $head_id IS NULL OR head_id = $head_id
GROUP BY head_id, policy_id
ORDER BY annotated_at DESC, policy_id
