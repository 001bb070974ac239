-- asks:    Which keys of extractors are in more than one row?
-- params:  none
-- reads:   extractors
-- grain:   one row per repeated key
-- columns: extractor_id, rows
SELECT extractor_id, count(*) AS rows
FROM extractors
GROUP BY extractor_id
HAVING count(*) > 1
