-- asks:    Which rows of ground_truth are about an image that the store does not have?
-- params:  none
-- reads:   ground_truth, images
-- grain:   one row per row of ground_truth
-- columns: image_id, dataset, ground_truth_id
SELECT t.image_id, t.dataset, t.ground_truth_id
FROM ground_truth AS t
LEFT ANTI JOIN images AS i ON t.image_id = i.image_id
