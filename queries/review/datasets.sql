-- asks:    What does the store hold of each data set?
-- params:  none
-- reads:   images, labels, ground_truth
-- grain:   one row per data set, source and split
-- columns: dataset, source, split, images, labelled, annotated, annotations
WITH labelled AS (
    SELECT DISTINCT image_id FROM labels
), annotations AS (
    SELECT image_id, count(*) AS annotations FROM ground_truth WHERE NOT is_ignored GROUP BY image_id
)
SELECT i.dataset, i.source, i.split,
       count(*) AS images,
       count(l.image_id) AS labelled,
       count(a.image_id) AS annotated,
       coalesce(sum(a.annotations), 0) AS annotations
FROM images AS i
LEFT JOIN labelled AS l ON i.image_id = l.image_id
LEFT JOIN annotations AS a ON i.image_id = a.image_id
GROUP BY i.dataset, i.source, i.split
ORDER BY i.dataset, i.source, i.split
