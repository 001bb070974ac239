-- asks:    Which images does a head surely see something on that their labels do not say?
-- params:  head TEXT           -- name of the head
--          least DOUBLE = 0.9  -- score from which it is sure
-- reads:   heads, predictions, class_sets, labels, images
-- grain:   one row per labelled image and class it is not labelled with, the surest first
-- columns: file_name, image_id, class, score, masks, labels
WITH the_head AS (
    SELECT head_id, class_set, class_set_version FROM heads WHERE head = $head ORDER BY created_at DESC LIMIT 1
), the_policy AS (
    SELECT p.policy_id FROM predictions p JOIN the_head h ON p.head_id = h.head_id ORDER BY p.created_at DESC LIMIT 1
), sure AS (
    SELECT p.image_id, p.class_index, p.class, max(p.score) AS score, count(*) AS masks
    FROM predictions p
    JOIN the_head h ON p.head_id = h.head_id
    JOIN the_policy o ON p.policy_id = o.policy_id
    WHERE p.kept AND p.score >= $least
    GROUP BY p.image_id, p.class_index, p.class
), stands_for AS (
    SELECT c.class_index, unnest(c.labels) AS label
    FROM class_sets c
    JOIN the_head h ON c.class_set = h.class_set AND c.version = h.class_set_version
), said AS (
    SELECT DISTINCT l.image_id, f.class_index
    FROM labels l
    JOIN stands_for f ON l.label = f.label
), words AS (
    SELECT image_id, string_agg(DISTINCT label, ', ') AS labels FROM labels GROUP BY image_id
)
SELECT i.file_name, s.image_id, s.class, s.score, s.masks, w.labels
FROM sure s
JOIN images i ON s.image_id = i.image_id
JOIN words w ON s.image_id = w.image_id
LEFT JOIN said d ON s.image_id = d.image_id AND s.class_index = d.class_index
WHERE d.image_id IS NULL
ORDER BY s.score DESC, i.file_name
