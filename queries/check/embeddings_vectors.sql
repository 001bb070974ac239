-- asks:    Which images have more or fewer vectors than their embedder recorded, or vectors of one not done with them?
-- params:  none
-- reads:   embeddings, vector_keys, image_vector_keys
-- grain:   one row per embedder, extractor and image
-- columns: embedder_id, extractor_id, image_id, given, vectors
WITH counted AS (
    SELECT embedder_id, extractor_id, image_id, count(*) AS vectors
    FROM (
        SELECT embedder_id, extractor_id, image_id FROM vector_keys
        UNION ALL
        SELECT embedder_id, CAST(NULL AS TEXT) AS extractor_id, image_id FROM image_vector_keys
    )
    GROUP BY embedder_id, extractor_id, image_id
)
SELECT coalesce(e.embedder_id, c.embedder_id) AS embedder_id,
       coalesce(e.extractor_id, c.extractor_id) AS extractor_id,
       coalesce(e.image_id, c.image_id) AS image_id,
       e.vectors AS given,
       coalesce(c.vectors, 0) AS vectors
FROM embeddings AS e
FULL JOIN counted AS c
    ON e.embedder_id = c.embedder_id AND e.image_id = c.image_id
    AND coalesce(e.extractor_id, '') = coalesce(c.extractor_id, '')
WHERE e.vectors IS DISTINCT FROM coalesce(c.vectors, 0)
