-- asks:    How many images and annotated objects does each label have?
-- params:  dataset DATASET = NULL -- only this data set
-- reads:   labels, ground_truth, images
-- grain:   one row per data set and label
-- columns: dataset, label, images, objects, crowds
WITH objects AS (
    SELECT dataset, category,
           count(*) FILTER (WHERE NOT iscrowd) AS objects,
           count(*) FILTER (WHERE iscrowd) AS crowds
    FROM ground_truth
    WHERE NOT is_ignored
    GROUP BY dataset, category
), labelled AS (
    SELECT l.dataset, l.label, count(*) AS images
    FROM labels AS l
    JOIN images AS i ON l.image_id = i.image_id
    WHERE $dataset IS NULL OR l.dataset = $dataset
    GROUP BY l.dataset, l.label
)
SELECT l.dataset, l.label, l.images,
       coalesce(o.objects, 0) AS objects,
       coalesce(o.crowds, 0) AS crowds
FROM labelled AS l
LEFT JOIN objects AS o ON l.dataset = o.dataset AND l.label = o.category
ORDER BY l.dataset, l.images DESC, l.label
