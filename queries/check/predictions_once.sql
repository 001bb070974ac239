-- asks:    Which keys of predictions are in more than one row?
-- params:  none
-- reads:   predictions
-- grain:   one row per repeated key
-- columns: head_id, policy_id, image_id, mask_index, rows
SELECT head_id, policy_id, image_id, mask_index, count(*) AS rows
FROM predictions
GROUP BY head_id, policy_id, image_id, mask_index
HAVING count(*) > 1
