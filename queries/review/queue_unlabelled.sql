-- asks:    Which masks does nobody say anything of?
-- params:  extractor EXTRACTOR -- first digits of the extractor's id
--          count BIGINT = 100   -- maximum number of masks
--          seed BIGINT = 0      -- another seed gives another order
-- uses:    review/said_of_masks
-- reads:   masks, said_of_masks
-- grain:   one row per mask of which nobody says anything
-- columns: image_id, extractor_id, mask_index, class, priority, why
-- notes:   class (null: no head was asked), priority (minus the place in an order that the masks and the seed determine)
SELECT image_id, extractor_id, mask_index, CAST(NULL AS VARCHAR) AS class,
       -CAST(row_number() OVER (ORDER BY place, image_id, mask_index) AS DOUBLE) AS priority,
       'nobody says anything of it' AS why
FROM (
    SELECT m.image_id, m.extractor_id, m.mask_index, md5(concat($seed, '-', m.image_id, '-', m.mask_index)) AS place
    FROM masks m
    LEFT JOIN said_of_masks s
        ON m.image_id = s.image_id AND m.extractor_id = s.extractor_id AND m.mask_index = s.mask_index
    WHERE m.extractor_id = $extractor AND coalesce(s.is_propagated, true)
    ORDER BY place, m.image_id, m.mask_index
    LIMIT $count
)
ORDER BY place, image_id, mask_index
