-- asks:    Of which masks has a reviewer taken back what was said?
-- params:  none
-- reads:   mask_labels
-- grain:   one row per mask
-- columns: extractor_id, image_id, mask_index
-- notes:   'grainstore propagate' leaves these masks alone
SELECT DISTINCT extractor_id, image_id, mask_index
FROM (
    SELECT extractor_id, image_id, mask_index, verdict, origin, row_number() OVER (
        PARTITION BY extractor_id, image_id, mask_index, reviewer
        ORDER BY created_at DESC, mask_label_id DESC
    ) AS place
    FROM mask_labels
)
WHERE place = 1 AND verdict = 'undone' AND origin <> 'propagated'
