-- asks:    Which keys of masks are in more than one row?
-- params:  none
-- reads:   masks
-- grain:   one row per repeated key
-- columns: extractor_id, image_id, mask_index, rows
SELECT extractor_id, image_id, mask_index, count(*) AS rows
FROM masks
GROUP BY extractor_id, image_id, mask_index
HAVING count(*) > 1
