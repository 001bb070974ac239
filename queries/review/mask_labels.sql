-- asks:    What does each reviewer say of each mask, last?
-- params:  none
-- reads:   mask_labels
-- grain:   one row per mask and reviewer
-- columns: mask_label_id, extractor_id, image_id, mask_index, label, verdict, origin, proof, score, margin, reviewer,
--          queue, head_id, seconds, created_at
-- notes:   what was undone is left out
SELECT mask_label_id, extractor_id, image_id, mask_index, label, verdict, origin, proof, score, margin, reviewer,
       queue, head_id, seconds, created_at
FROM (
    SELECT *, row_number() OVER (
        PARTITION BY extractor_id, image_id, mask_index, reviewer
        ORDER BY created_at DESC, mask_label_id DESC
    ) AS place
    FROM mask_labels
)
WHERE place = 1 AND verdict <> 'undone'
