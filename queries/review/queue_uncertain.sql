-- asks:    Which masks is a head least sure of?
-- params:  head HEAD                    -- the head's name, or the first digits of its id
--          policy POLICY(head) = newest -- first digits of the policy's id; newest: the one that was used last
--          count BIGINT = 100           -- maximum number of masks
-- uses:    review/head_scores, review/said_of_masks
-- reads:   head_scores, said_of_masks
-- grain:   one row per mask of which nobody says anything, the least sure first
-- columns: image_id, extractor_id, mask_index, class, priority, why
-- notes:   priority (entropy of the head's probabilities, in nats)
SELECT p.image_id, p.extractor_id, p.mask_index, p.class, p.entropy AS priority,
       concat('most likely ', p.class, ' with ', round(p.score, 2), ', entropy ', round(p.entropy, 2)) AS why
FROM head_scores p
LEFT JOIN said_of_masks s
    ON p.image_id = s.image_id AND p.extractor_id = s.extractor_id AND p.mask_index = s.mask_index
WHERE p.entropy IS NOT NULL AND coalesce(s.is_propagated, true)
ORDER BY priority DESC, p.image_id, p.mask_index
LIMIT $count
