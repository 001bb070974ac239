-- asks:    Which images have more or fewer masks than their extractor recorded, or masks of one not done with them?
-- params:  none
-- reads:   extractions, masks
-- grain:   one row per extractor and image
-- columns: extractor_id, image_id, given, masks
WITH counted AS (
    SELECT extractor_id, image_id, count(*) AS masks
    FROM masks
    GROUP BY extractor_id, image_id
)
SELECT coalesce(e.extractor_id, c.extractor_id) AS extractor_id,
       coalesce(e.image_id, c.image_id) AS image_id,
       e.masks AS given,
       coalesce(c.masks, 0) AS masks
FROM extractions AS e
FULL JOIN counted AS c ON e.extractor_id = c.extractor_id AND e.image_id = c.image_id
WHERE e.masks IS DISTINCT FROM coalesce(c.masks, 0)
