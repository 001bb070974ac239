-- asks:    Which labels are on masks that the store does not have?
-- params:  none
-- reads:   mask_labels, masks
-- grain:   one row per label
-- columns: mask_label_id, extractor_id, image_id, mask_index
SELECT l.mask_label_id, l.extractor_id, l.image_id, l.mask_index
FROM mask_labels AS l
LEFT ANTI JOIN masks AS m
    ON l.extractor_id = m.extractor_id AND l.image_id = m.image_id AND l.mask_index = m.mask_index
