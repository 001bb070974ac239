-- asks:    Which masks does chance choose?
-- params:  head HEAD                    -- the head's name, or the first digits of its id
--          policy POLICY(head) = newest -- first digits of the policy's id; newest: the one that was used last
--          count BIGINT = 100           -- maximum number of masks
--          seed BIGINT = 0              -- another seed chooses others
-- uses:    review/head_scores, review/said_of_masks
-- reads:   head_scores, said_of_masks
-- grain:   one row per mask of which nobody says anything
-- columns: image_id, extractor_id, mask_index, class, priority, why
-- notes:   priority (minus the place in an order that the masks and the seed determine)
SELECT image_id, extractor_id, mask_index, class,
       -CAST(row_number() OVER (ORDER BY place, image_id, mask_index) AS DOUBLE) AS priority,
       'chosen by chance' AS why
FROM (
    SELECT p.image_id, p.extractor_id, p.mask_index, p.class,
           md5(concat($seed, '-', p.image_id, '-', p.mask_index)) AS place
    FROM head_scores p
    LEFT JOIN said_of_masks s
        ON p.image_id = s.image_id AND p.extractor_id = s.extractor_id AND p.mask_index = s.mask_index
    WHERE coalesce(s.is_propagated, true)
    ORDER BY place, p.image_id, p.mask_index
    LIMIT $count
)
ORDER BY place, image_id, mask_index
