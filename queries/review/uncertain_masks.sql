-- asks:    Which kept masks is a head least sure of?
-- params:  head HEAD                    -- the head's name, or the first digits of its id
--          policy POLICY(head) = newest -- first digits of the policy's id; newest: the one that was used last
--          count BIGINT = 100           -- maximum number of masks
-- uses:    annotate/chosen_predictions
-- reads:   chosen_predictions, images
-- grain:   one row per mask, the least sure first
-- columns: file_name, image_id, mask_index, class, score, entropy
SELECT i.file_name, p.image_id, p.mask_index, p.class, p.score, p.entropy
FROM chosen_predictions p
JOIN images i ON p.image_id = i.image_id
WHERE p.kept AND p.entropy IS NOT NULL
ORDER BY p.entropy DESC, p.image_id, p.mask_index
LIMIT $count
