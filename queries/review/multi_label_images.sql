-- asks:    Which images have more than one label?
-- params:  dataset DATASET = NULL -- only this data set
--          min BIGINT = 2         -- minimum number of labels
-- reads:   labels, images
-- grain:   one row per image
-- columns: image_id, file_name, labels, names
SELECT i.image_id, i.file_name, count(*) AS labels, string_agg(l.label, ', ' ORDER BY l.label) AS names
FROM labels AS l
JOIN images AS i ON l.image_id = i.image_id
WHERE $dataset IS NULL OR l.dataset = $dataset
GROUP BY i.image_id, i.file_name
HAVING count(*) >= $min
ORDER BY labels DESC, i.file_name
