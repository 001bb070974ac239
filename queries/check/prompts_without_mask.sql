-- asks:    Which prompts are of masks that the store does not have?
-- params:  none
-- reads:   prompts, masks
-- grain:   one row per prompt
-- columns: extractor_id, image_id, mask_index
SELECT p.extractor_id, p.image_id, p.mask_index
FROM prompts AS p
LEFT ANTI JOIN masks AS m
    ON p.extractor_id = m.extractor_id AND p.image_id = m.image_id AND p.mask_index = m.mask_index
