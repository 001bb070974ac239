-- asks:    Which keys of image_features are in more than one row?
-- params:  none
-- reads:   image_features
-- grain:   one row per repeated key
-- columns: extractor_id, image_id, rows
SELECT extractor_id, image_id, count(*) AS rows
FROM image_features
GROUP BY extractor_id, image_id
HAVING count(*) > 1
