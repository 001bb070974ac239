-- asks:    Which masks have more than one vector of an embedder?
-- params:  none
-- reads:   vector_keys
-- grain:   one row per repeated key
-- columns: embedder_id, extractor_id, image_id, mask_index, rows
SELECT embedder_id, extractor_id, image_id, mask_index, count(*) AS rows
FROM vector_keys
GROUP BY embedder_id, extractor_id, image_id, mask_index
HAVING count(*) > 1
