-- asks:    Which keys of prompts are in more than one row?
-- params:  none
-- reads:   prompts
-- grain:   one row per repeated key
-- columns: extractor_id, image_id, mask_index, rows
SELECT extractor_id, image_id, mask_index, count(*) AS rows
FROM prompts
GROUP BY extractor_id, image_id, mask_index
HAVING count(*) > 1
