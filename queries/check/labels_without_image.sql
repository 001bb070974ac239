-- asks:    Which rows of labels are about an image that the store does not have?
-- params:  none
-- reads:   labels, images
-- grain:   one row per row of labels
-- columns: image_id, dataset, label
SELECT t.image_id, t.dataset, t.label
FROM labels AS t
LEFT ANTI JOIN images AS i ON t.image_id = i.image_id
