-- asks:    How many masks did a reviewer label today, and of how many does anybody say something?
-- params:  reviewer TEXT = NULL -- the reviewer's name; without one, nobody in person
-- uses:    review/said_of_masks
-- reads:   mask_labels, said_of_masks
-- grain:   one row
-- columns: today, labelled
-- notes:   today (masks of which the reviewer's newest statement is of today, UTC), labelled (masks of which anybody says
--          something)
WITH own AS (
    SELECT verdict, created_at, row_number() OVER (
        PARTITION BY extractor_id, image_id, mask_index
        ORDER BY created_at DESC, mask_label_id DESC
    ) AS place
    FROM mask_labels
    WHERE reviewer IS NOT DISTINCT FROM $reviewer
)
SELECT (SELECT count(*) FROM own WHERE place = 1 AND verdict <> 'undone' AND created_at >= date_trunc('day', now())) AS today,
       (SELECT count(*) FROM said_of_masks) AS labelled
