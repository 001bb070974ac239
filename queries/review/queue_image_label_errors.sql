-- asks:    Which masks show, as a head sees it, a class that their image is not labelled with?
-- params:  head HEAD                    -- the head's name, or the first digits of its id
--          policy POLICY(head) = newest -- first digits of the policy's id; newest: the one that was used last
--          count BIGINT = 100           -- maximum number of masks
-- uses:    review/head_scores, review/said_of_masks, review/image_classes
-- reads:   head_scores, said_of_masks, image_classes, labels
-- grain:   one row per mask of a labelled image of which nobody says anything; of each image and class the surest one
-- columns: image_id, extractor_id, mask_index, class, priority, why
-- notes:   priority (the score). Either the label is wrong or lacks something, or the head is wrong
WITH words AS (
    SELECT image_id, string_agg(DISTINCT label, ', ') AS labels FROM labels GROUP BY image_id
), other AS (
    SELECT p.image_id, p.extractor_id, p.mask_index, p.class, p.score, w.labels,
           row_number() OVER (PARTITION BY p.image_id, p.class_index ORDER BY p.score DESC, p.mask_index) AS place
    FROM head_scores p
    JOIN words w ON p.image_id = w.image_id
    LEFT JOIN image_classes c ON p.image_id = c.image_id AND p.class_index = c.class_index
    LEFT JOIN said_of_masks s
        ON p.image_id = s.image_id AND p.extractor_id = s.extractor_id AND p.mask_index = s.mask_index
    WHERE c.image_id IS NULL AND coalesce(s.is_propagated, true)
)
SELECT image_id, extractor_id, mask_index, class, score AS priority,
       concat(class, ' with ', round(score, 2), ' in an image that is labelled ', labels) AS why
FROM other
WHERE place = 1
ORDER BY priority DESC, image_id, mask_index
LIMIT $count
