-- asks:    Which classes do the image-level labels make, one class per label?
-- params:  dataset DATASET = NULL -- only labels of this data set
-- reads:   labels
-- grain:   one row per label
-- columns: class, external_id
SELECT label AS class, CAST(NULL AS BIGINT) AS external_id
FROM labels
WHERE $dataset IS NULL OR dataset = $dataset
GROUP BY label
ORDER BY label
