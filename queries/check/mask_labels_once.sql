-- asks:    Which keys of mask_labels are in more than one row?
-- params:  none
-- reads:   mask_labels
-- grain:   one row per repeated key
-- columns: mask_label_id, rows
SELECT mask_label_id, count(*) AS rows
FROM mask_labels
GROUP BY mask_label_id
HAVING count(*) > 1
