-- asks:    Which masks are nearest to the score from which on they are kept?
-- params:  head HEAD                    -- the head's name, or the first digits of its id
--          policy POLICY(head) = newest -- first digits of the policy's id; newest: the one that was used last
--          count BIGINT = 100           -- maximum number of masks
-- uses:    review/head_scores, review/said_of_masks
-- reads:   head_scores, said_of_masks, policies, masks
-- grain:   one row per mask of which nobody says anything, the nearest first
-- columns: image_id, extractor_id, mask_index, class, priority, why
-- notes:   priority (minus the distance of its score to the threshold of its class), both by the policy's rules
WITH rule AS (
    SELECT CAST(regexp_match(policy, '"score_threshold":([0-9.eE+-]+)}$')[1] AS DOUBLE) AS threshold,
           policy LIKE '%"score":"p*iou"%' AS by_iou,
           split_part(split_part(policy, '"class_thresholds":{', 2), '}', 1) AS of_classes
    FROM policies
    WHERE policy_id = $policy
), scored AS (
    SELECT p.image_id, p.extractor_id, p.mask_index, p.class,
           p.score * CASE WHEN (SELECT by_iou FROM rule) THEN coalesce(m.predicted_iou, 1.0) ELSE 1.0 END AS score,
           coalesce(CAST(nullif(split_part(split_part((SELECT of_classes FROM rule), concat('"', p.class, '":'), 2), ',', 1), '') AS DOUBLE),
                    (SELECT threshold FROM rule)) AS threshold
    FROM head_scores p
    JOIN masks m ON p.image_id = m.image_id AND p.extractor_id = m.extractor_id AND p.mask_index = m.mask_index
)
SELECT p.image_id, p.extractor_id, p.mask_index, p.class, -abs(p.score - p.threshold) AS priority,
       concat(p.class, ' with ', round(p.score, 3), ', kept from ', p.threshold) AS why
FROM scored p
LEFT JOIN said_of_masks s
    ON p.image_id = s.image_id AND p.extractor_id = s.extractor_id AND p.mask_index = s.mask_index
WHERE coalesce(s.is_propagated, true) AND p.score IS NOT NULL
ORDER BY priority DESC, p.image_id, p.mask_index
LIMIT $count
