-- asks:    Does one head's class imply another's? Of the masks both keep, how often does a class of the first
--          agree with that of the other, as their labels say it should?
-- params:  head TEXT  -- name or id of the one: the finer
--          other TEXT -- name or id of the other: the coarser
-- reads:   heads, predictions, class_sets
-- grain:   one row per class of the first head and class the other gives the same masks
-- columns: class, other_class, masks, implied
-- notes:   class, other_class, masks, implied (whether all labels of the class are labels of the other class)
WITH chosen AS (
    SELECT head_id, class_set, class_set_version, 1 AS which,
           row_number() OVER (ORDER BY created_at DESC) AS place
    FROM heads WHERE head = $head OR head_id = $head
    UNION ALL
    SELECT head_id, class_set, class_set_version, 2,
           row_number() OVER (ORDER BY created_at DESC)
    FROM heads WHERE head = $other OR head_id = $other
), policies AS (
    SELECT c.which, p.head_id, p.policy_id,
           row_number() OVER (PARTITION BY c.which ORDER BY max(p.created_at) DESC) AS place
    FROM predictions p
    JOIN chosen c ON p.head_id = c.head_id
    WHERE c.place = 1
    GROUP BY c.which, p.head_id, p.policy_id
), kept AS (
    SELECT o.which, p.image_id, p.extractor_id, p.mask_index, p.class_index, p.class
    FROM predictions p
    JOIN policies o ON p.head_id = o.head_id AND p.policy_id = o.policy_id
    WHERE o.place = 1 AND p.kept
), class_labels AS (
    SELECT c.which, s.class_index, unnest(s.labels) AS label
    FROM class_sets s
    JOIN chosen c ON s.class_set = c.class_set AND s.version = c.class_set_version
    WHERE c.place = 1
), implied AS (
    SELECT a.class_index, b.class_index AS other_index, count(*) AS labels
    FROM class_labels a
    JOIN class_labels b ON a.label = b.label
    WHERE a.which = 1 AND b.which = 2
    GROUP BY a.class_index, b.class_index
), sizes AS (
    SELECT class_index, count(*) AS labels FROM class_labels WHERE which = 1 GROUP BY class_index
), pairs AS (
    SELECT a.class_index, a.class, b.class_index AS other_index, b.class AS other_class, count(*) AS masks
    FROM kept a
    JOIN kept b ON a.image_id = b.image_id AND a.extractor_id = b.extractor_id AND a.mask_index = b.mask_index
    WHERE a.which = 1 AND b.which = 2
    GROUP BY a.class_index, a.class, b.class_index, b.class
)
SELECT p.class, p.other_class, p.masks, coalesce(i.labels = s.labels, false) AS implied
FROM pairs p
JOIN sizes s ON p.class_index = s.class_index
LEFT JOIN implied i ON p.class_index = i.class_index AND p.other_index = i.other_index
ORDER BY p.class_index, p.masks DESC
