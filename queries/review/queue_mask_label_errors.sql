-- asks:    Which labels of masks does a head contradict?
-- params:  head HEAD                    -- the head's name, or the first digits of its id
--          policy POLICY(head) = newest -- first digits of the policy's id; newest: the one that was used last
--          count BIGINT = 100           -- maximum number of masks
-- uses:    review/head_scores, review/said_of_masks
-- reads:   head_scores, said_of_masks, heads, class_sets
-- grain:   one row per mask that is said to show another class of the head than it says, or one of them as against none
-- columns: image_id, extractor_id, mask_index, class, priority, why
-- notes:   priority (the head's score of its own answer). Labels that were propagated are among them
WITH words AS (
    SELECT c.class_index, c.class, unnest(c.labels) AS label
    FROM class_sets c
    JOIN heads h ON c.class_set = h.class_set AND c.version = h.class_set_version
    WHERE h.head_id = $head
), said AS (
    SELECT s.image_id, s.extractor_id, s.mask_index, s.is_propagated, s.label, w.class_index, w.class
    FROM (SELECT *, unnest(mask_is) AS label FROM said_of_masks) s
    JOIN words w ON s.label = w.label
    UNION ALL
    SELECT image_id, extractor_id, mask_index, is_propagated, CAST(NULL AS TEXT), CAST(NULL AS INT), CAST(NULL AS TEXT)
    FROM said_of_masks
    WHERE mask_is_none
)
SELECT p.image_id, p.extractor_id, p.mask_index, p.class, p.score AS priority,
       concat(CASE WHEN s.is_propagated THEN 'propagated as ' ELSE 'labelled ' END,
              coalesce(s.label, 'none of any class'), ', and the head says ', p.class, ' with ', round(p.score, 2)) AS why
FROM said s
JOIN head_scores p
    ON p.image_id = s.image_id AND p.extractor_id = s.extractor_id AND p.mask_index = s.mask_index
WHERE (s.class_index IS DISTINCT FROM p.class_index) AND (s.class_index IS NOT NULL OR p.score >= 0.5)
ORDER BY priority DESC, p.image_id, p.mask_index
LIMIT $count
