-- asks:    Which masks that are labelled themselves is a head trained on?
-- params:  extractor EXTRACTOR -- first digits of its id
-- uses:    review/said_of_masks
-- reads:   said_of_masks, images, masks
-- grain:   one row per labelled mask
-- columns: image_id, extractor_id, mask_index, mask_is, mask_is_not, mask_is_none, mask_is_bad, embedding
-- notes:   for heads that learn from labels of masks alone; what is said of the mask is that of review/said_of_masks
SELECT m.image_id, m.extractor_id, m.mask_index, s.mask_is, s.mask_is_not, s.mask_is_none, s.mask_is_bad, m.embedding
FROM (SELECT image_id FROM images WHERE true) i
JOIN said_of_masks s ON s.image_id = i.image_id
JOIN masks m ON m.image_id = s.image_id AND m.extractor_id = s.extractor_id AND m.mask_index = s.mask_index
WHERE m.extractor_id = $extractor
