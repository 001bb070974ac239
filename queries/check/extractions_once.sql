-- asks:    Which images are recorded as done more than once for one extractor?
-- params:  none
-- reads:   extractions
-- grain:   one row per repeated key
-- columns: extractor_id, image_id, rows
SELECT extractor_id, image_id, count(*) AS rows
FROM extractions
GROUP BY extractor_id, image_id
HAVING count(*) > 1
