-- asks:    Which images are nearly the same, by the mean of their masks' embeddings?
-- params:  min DOUBLE = 0.99      -- minimum cosine similarity of two images
--          dataset DATASET = NULL -- only images of this data set; every pair is compared, so keep it to some thousands
-- reads:   masks, images
-- grain:   one row per pair of images, the most similar first
-- columns: file_name, other_file_name, image_id, other_image_id, similarity
WITH means AS (
    SELECT m.image_id, m.extractor_id, embedding_mean(m.embedding) AS mean
    FROM masks m
    JOIN images i ON m.image_id = i.image_id
    WHERE $dataset IS NULL OR i.dataset = $dataset
    GROUP BY m.image_id, m.extractor_id
), pairs AS (
    SELECT a.image_id, b.image_id AS other_image_id, max(cosine_similarity(a.mean, b.mean)) AS similarity
    FROM means a
    JOIN means b ON a.extractor_id = b.extractor_id AND a.image_id < b.image_id
    GROUP BY a.image_id, b.image_id
)
SELECT i.file_name, o.file_name AS other_file_name, p.image_id, p.other_image_id, p.similarity
FROM pairs p
JOIN images i ON p.image_id = i.image_id
JOIN images o ON p.other_image_id = o.image_id
WHERE p.similarity >= $min
ORDER BY p.similarity DESC, i.file_name, o.file_name
