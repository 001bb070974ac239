-- asks:    Which labels of masks does a head contradict?
-- params:  head HEAD                    -- the head's name, or the first digits of its id
--          policy POLICY(head) = newest -- first digits of the policy's id; newest: the one that was used last
--          count BIGINT = 100           -- maximum number of masks
-- uses:    review/head_scores, review/said_of_masks
-- reads:   head_scores, said_of_masks, heads, class_sets
-- grain:   one row per labelled mask that the head calls otherwise: by another class, by one that it is said not to show, by
--          some class as against none, or by none as against some
-- columns: image_id, extractor_id, mask_index, class, priority, why
-- notes:   priority (the head's score of its own answer; of none, 1 less the score of the class). A score of 0.5 is an answer.
--          Labels that were propagated are among them
WITH words AS (
    SELECT c.class_index, unnest(c.labels) AS label
    FROM class_sets c
    JOIN heads h ON c.class_set = h.class_set AND c.version = h.class_set_version
    WHERE h.head_id = $head
), shown AS (
    SELECT s.image_id, s.extractor_id, s.mask_index, array_agg(DISTINCT w.class_index) AS classes,
           string_agg(DISTINCT s.label, ', ') AS labels
    FROM (SELECT image_id, extractor_id, mask_index, unnest(mask_is) AS label FROM said_of_masks) s
    JOIN words w ON s.label = w.label
    GROUP BY s.image_id, s.extractor_id, s.mask_index
), denied AS (
    SELECT s.image_id, s.extractor_id, s.mask_index, array_agg(DISTINCT w.class_index) AS classes,
           string_agg(DISTINCT s.label, ', ') AS labels
    FROM (SELECT image_id, extractor_id, mask_index, unnest(mask_is_not) AS label FROM said_of_masks) s
    JOIN words w ON s.label = w.label
    GROUP BY s.image_id, s.extractor_id, s.mask_index
), compared AS (
    SELECT p.image_id, p.extractor_id, p.mask_index, p.class, p.score, s.is_propagated,
           CASE WHEN i.classes IS NOT NULL THEN i.labels
                WHEN n.classes IS NOT NULL THEN concat('not ', n.labels)
                ELSE 'none of any class' END AS said,
           i.classes IS NOT NULL AND p.score < 0.5 AS says_none,
           CASE WHEN i.classes IS NOT NULL THEN p.score < 0.5 OR NOT array_has(i.classes, p.class_index)
                WHEN n.classes IS NOT NULL THEN p.score >= 0.5 AND array_has(n.classes, p.class_index)
                ELSE s.mask_is_none AND p.score >= 0.5 END AS differs
    FROM said_of_masks s
    JOIN head_scores p
        ON p.image_id = s.image_id AND p.extractor_id = s.extractor_id AND p.mask_index = s.mask_index
    LEFT JOIN shown i
        ON i.image_id = s.image_id AND i.extractor_id = s.extractor_id AND i.mask_index = s.mask_index
    LEFT JOIN denied n
        ON n.image_id = s.image_id AND n.extractor_id = s.extractor_id AND n.mask_index = s.mask_index
)
SELECT image_id, extractor_id, mask_index, class, CASE WHEN says_none THEN 1.0 - score ELSE score END AS priority,
       concat(CASE WHEN is_propagated THEN 'propagated as ' ELSE 'labelled ' END, said, ', and the head says ',
              CASE WHEN says_none THEN concat('none; at most ', class) ELSE class END, ' with ', round(score, 2)) AS why
FROM compared
WHERE differs
ORDER BY priority DESC, image_id, mask_index
LIMIT $count
