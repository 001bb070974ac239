-- asks:    What is said of the masks of an image?
-- params:  image IMAGE         -- its file name, or the first digits of its id
--          extractor EXTRACTOR -- first digits of the id of the masks' extractor
-- uses:    review/said_of_masks
-- reads:   said_of_masks
-- grain:   one row per mask of which something is said
-- columns: mask_index, mask_is, mask_is_not, mask_is_none, mask_is_bad, is_propagated
SELECT mask_index, mask_is, mask_is_not, mask_is_none, mask_is_bad, is_propagated
FROM said_of_masks
WHERE image_id = $image AND extractor_id = $extractor
ORDER BY mask_index
