-- asks:    Which masks are most similar to a given mask, by their embeddings?
-- params:  image IMAGE                -- the image of the mask: its file name, or the first digits of its id
--          mask BIGINT                -- its mask_index
--          extractor EXTRACTOR = NULL -- first digits of its extractor's id; NULL: the newest one with such a mask
--          count BIGINT = 20          -- maximum number of masks
-- reads:   masks, extractors, images
-- grain:   one row per mask, the most similar first
-- columns: file_name, image_id, mask_index, similarity
-- notes:   file_name, image_id, mask_index, similarity (cosine)
WITH one AS (
    SELECT m.extractor_id, m.embedding AS wanted
    FROM masks m
    JOIN extractors x ON m.extractor_id = x.extractor_id
    WHERE m.image_id = $image AND m.mask_index = $mask
      AND m.embedding IS NOT NULL
      AND ($extractor IS NULL OR m.extractor_id = $extractor)
    ORDER BY x.created_at DESC, m.extractor_id
    LIMIT 1
), alike AS (
    SELECT m.image_id, m.mask_index, cosine_similarity(m.embedding, o.wanted) AS similarity
    FROM masks m
    JOIN one o ON m.extractor_id = o.extractor_id
    ORDER BY similarity DESC NULLS LAST, m.image_id, m.mask_index
    LIMIT $count
)
SELECT i.file_name, a.image_id, a.mask_index, a.similarity
FROM alike a
JOIN images i ON a.image_id = i.image_id
ORDER BY a.similarity DESC NULLS LAST, a.image_id, a.mask_index
