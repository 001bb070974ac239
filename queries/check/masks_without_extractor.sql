-- asks:    Which extractors have masks but no row in extractors?
-- params:  none
-- reads:   masks, extractors
-- grain:   one row per extractor
-- columns: extractor_id, masks
SELECT m.extractor_id, count(*) AS masks
FROM masks AS m
LEFT ANTI JOIN extractors AS e ON m.extractor_id = e.extractor_id
GROUP BY m.extractor_id
