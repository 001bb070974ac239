-- asks:    Which masks are nearest to the score from which on they are kept?
-- params:  head HEAD                    -- the head's name, or the first digits of its id
--          policy POLICY(head) = newest -- first digits of the policy's id; newest: the one that was used last
--          count BIGINT = 100           -- maximum number of masks
-- uses:    review/head_scores, review/said_of_masks
-- reads:   head_scores, said_of_masks, policies
-- grain:   one row per mask of which nobody says anything, the nearest first
-- columns: image_id, extractor_id, mask_index, class, priority, why
-- notes:   priority (minus the distance of its score to the policy's threshold)
WITH threshold AS (
    SELECT CAST(regexp_match(policy, '"score_threshold":([0-9.eE+-]+)')[1] AS DOUBLE) AS score
    FROM policies
    WHERE policy_id = $policy
)
SELECT p.image_id, p.extractor_id, p.mask_index, p.class, -abs(p.score - t.score) AS priority,
       concat(p.class, ' with ', round(p.score, 3), ', kept from ', t.score) AS why
FROM head_scores p
CROSS JOIN threshold t
LEFT JOIN said_of_masks s
    ON p.image_id = s.image_id AND p.extractor_id = s.extractor_id AND p.mask_index = s.mask_index
WHERE coalesce(s.is_propagated, true)
ORDER BY priority DESC, p.image_id, p.mask_index
LIMIT $count
