-- asks:    How many masks did a reviewer label today?
-- params:  reviewer TEXT = NULL -- the reviewer's name; without one, nobody in person
-- reads:   mask_labels
-- grain:   one row
-- columns: today
-- notes:   today (masks of which the reviewer's newest statement is of today, UTC, and was given one by one)
SELECT count(*) AS today
FROM (
    SELECT verdict, origin, created_at, row_number() OVER (
        PARTITION BY extractor_id, image_id, mask_index
        ORDER BY created_at DESC, mask_label_id DESC
    ) AS place
    FROM mask_labels
    WHERE reviewer IS NOT DISTINCT FROM $reviewer
)
WHERE place = 1 AND verdict <> 'undone' AND origin = 'review' AND created_at >= date_trunc('day', now())
