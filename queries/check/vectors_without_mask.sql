-- asks:    Which vectors are of a mask that is not there?
-- params:  none
-- reads:   vector_keys, masks
-- grain:   one row per vector
-- columns: embedder_id, extractor_id, image_id, mask_index
SELECT v.embedder_id, v.extractor_id, v.image_id, v.mask_index
FROM vector_keys v
LEFT ANTI JOIN masks m
    ON m.extractor_id = v.extractor_id AND m.image_id = v.image_id AND m.mask_index = v.mask_index
