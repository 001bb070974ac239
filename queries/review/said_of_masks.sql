-- asks:    What is said of each mask, by whomever?
-- params:  none
-- reads:   mask_labels
-- grain:   one row per mask of which something is said
-- columns: extractor_id, image_id, mask_index, mask_is, mask_is_not, mask_is_none, mask_is_bad, is_propagated, labelled_at
-- notes:   mask_is (labels that it shows), mask_is_not (labels that it does not show), mask_is_none (whether it shows
--          nothing of any class), mask_is_bad (whether it is of no use), is_propagated (whether only neighbours say so),
--          labelled_at (time of the newest statement). The newest statement of each reviewer counts; what was propagated
--          counts only where nothing else is said. 'train --mask-labels' puts its condition in the place of 'true'
SELECT extractor_id, image_id, mask_index,
       array_agg(DISTINCT label) FILTER (WHERE verdict = 'is' AND label IS NOT NULL) AS mask_is,
       array_agg(DISTINCT label) FILTER (WHERE verdict = 'is not' AND label IS NOT NULL) AS mask_is_not,
       bool_or(verdict = 'is' AND label IS NULL) AS mask_is_none,
       bool_or(verdict = 'bad mask') AS mask_is_bad,
       bool_and(origin = 'propagated') AS is_propagated,
       max(created_at) AS labelled_at
FROM (
    SELECT *, bool_or(origin <> 'propagated') OVER (PARTITION BY extractor_id, image_id, mask_index) AS is_said
    FROM (
        SELECT *
        FROM (
            SELECT *, row_number() OVER (
                PARTITION BY extractor_id, image_id, mask_index, reviewer
                ORDER BY created_at DESC, mask_label_id DESC
            ) AS place
            FROM mask_labels
        ) counting
        WHERE place = 1 AND verdict <> 'undone'
    ) chosen
    WHERE true
)
WHERE origin <> 'propagated' OR NOT is_said
GROUP BY extractor_id, image_id, mask_index
