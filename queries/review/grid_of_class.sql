-- asks:    Which masks does a head call one class?
-- params:  head HEAD                    -- the head's name, or the first digits of its id
--          policy POLICY(head) = newest -- first digits of the policy's id; newest: the one that was used last
--          class_index BIGINT           -- index of the class in the head's class set
--          sort ONE_OF(score|unsure|area) = score -- the best first, the least sure first, or the largest first
--          count BIGINT = 60            -- maximum number of masks
-- uses:    review/head_scores, review/said_of_masks
-- reads:   head_scores, said_of_masks, masks
-- grain:   one row per mask of the class of which nobody says anything
-- columns: image_id, extractor_id, mask_index, class, score
SELECT p.image_id, p.extractor_id, p.mask_index, p.class, p.score
FROM head_scores p
JOIN masks m
    ON p.image_id = m.image_id AND p.extractor_id = m.extractor_id AND p.mask_index = m.mask_index
LEFT JOIN said_of_masks s
    ON p.image_id = s.image_id AND p.extractor_id = s.extractor_id AND p.mask_index = s.mask_index
WHERE p.class_index = $class_index AND coalesce(s.is_propagated, true)
ORDER BY CASE $sort WHEN 'area' THEN CAST(m.area AS DOUBLE) WHEN 'unsure' THEN -p.score ELSE p.score END DESC,
         p.image_id, p.mask_index
LIMIT $count
