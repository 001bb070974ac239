-- asks:    Which rows of masks are about an image that the store does not have?
-- params:  none
-- reads:   masks, images
-- grain:   one row per row of masks
-- columns: image_id, extractor_id, mask_index
SELECT t.image_id, t.extractor_id, t.mask_index
FROM masks AS t
LEFT ANTI JOIN images AS i ON t.image_id = i.image_id
