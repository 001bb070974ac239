-- asks:    What does the store hold of each data set?
-- params:  none
-- reads:   images, labels, ground_truth
-- grain:   one row per data set, source and split; an image of two data sets counts in both
-- columns: dataset, source, split, images, labelled, annotated, annotations
WITH labelled AS (
    SELECT DISTINCT image_id, dataset FROM labels
), annotated AS (
    SELECT image_id, dataset, count(*) FILTER (WHERE NOT is_ignored) AS annotations
    FROM ground_truth
    GROUP BY image_id, dataset
), spoken_of AS (
    SELECT image_id, dataset FROM images
    UNION SELECT image_id, dataset FROM labelled
    UNION SELECT image_id, dataset FROM annotated
)
SELECT s.dataset, i.source, i.split,
       count(*) AS images,
       count(l.image_id) AS labelled,
       count(a.image_id) AS annotated,
       coalesce(sum(a.annotations), 0) AS annotations
FROM spoken_of AS s
JOIN images AS i ON s.image_id = i.image_id
LEFT JOIN labelled AS l ON s.image_id = l.image_id AND s.dataset = l.dataset
LEFT JOIN annotated AS a ON s.image_id = a.image_id AND s.dataset = a.dataset
GROUP BY s.dataset, i.source, i.split
ORDER BY s.dataset, i.source, i.split
