-- asks:    Which rows of predictions are about a mask that the store does not have?
-- params:  none
-- reads:   predictions, masks
-- grain:   one row per row of predictions
-- columns: head_id, policy_id, image_id, extractor_id, mask_index
SELECT p.head_id, p.policy_id, p.image_id, p.extractor_id, p.mask_index
FROM predictions AS p
LEFT ANTI JOIN masks AS m
    ON p.image_id = m.image_id AND p.mask_index = m.mask_index AND p.extractor_id = m.extractor_id
