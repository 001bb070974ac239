-- asks:    What could not be used, and why?
-- params:  dataset DATASET = NULL -- only items of this data set
-- reads:   failures
-- grain:   one row per item
-- columns: stage, dataset, item, reason, failed_at
SELECT stage, dataset, item, reason, failed_at
FROM failures
WHERE $dataset IS NULL OR dataset = $dataset
ORDER BY failed_at DESC, item
