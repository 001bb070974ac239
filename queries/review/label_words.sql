-- asks:    Which words are labels of images, of annotated objects or of masks?
-- params:  none
-- reads:   labels, ground_truth, mask_labels
-- grain:   one row per word
-- columns: label, images, objects, masks
-- notes:   images, objects and masks (numbers of rows with the word)
SELECT label,
       count(*) FILTER (WHERE kind = 'image') AS images,
       count(*) FILTER (WHERE kind = 'object') AS objects,
       count(*) FILTER (WHERE kind = 'mask') AS masks
FROM (
    SELECT label, 'image' AS kind FROM labels
    UNION ALL
    SELECT category AS label, 'object' AS kind FROM ground_truth WHERE NOT is_ignored
    UNION ALL
    SELECT label, 'mask' AS kind FROM mask_labels WHERE label IS NOT NULL
)
GROUP BY label
ORDER BY label
