-- asks:    Which keys of embeddings are in more than one row?
-- params:  none
-- reads:   embeddings
-- grain:   one row per repeated key
-- columns: embedder_id, extractor_id, image_id, rows
SELECT embedder_id, extractor_id, image_id, count(*) AS rows
FROM embeddings
GROUP BY embedder_id, extractor_id, image_id
HAVING count(*) > 1
