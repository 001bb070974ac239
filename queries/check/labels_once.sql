-- asks:    Which keys of labels are in more than one row?
-- params:  none
-- reads:   labels
-- grain:   one row per repeated key
-- columns: image_id, dataset, label, rows
SELECT image_id, dataset, label, count(*) AS rows
FROM labels
GROUP BY image_id, dataset, label
HAVING count(*) > 1
