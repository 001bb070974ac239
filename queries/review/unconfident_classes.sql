-- asks:    For which classes does a head keep few masks, or keep them with low scores?
-- params:  head TEXT -- name of the head
-- reads:   heads, predictions, class_sets
-- grain:   one row per class of the head, fewest first
-- columns: class, kept, images, median_score, judged
-- notes:   class, kept, images, median_score, judged (masks whose best class it is, kept or not)
WITH the_head AS (
    SELECT head_id, class_set, class_set_version FROM heads WHERE head = $head ORDER BY created_at DESC LIMIT 1
), the_policy AS (
    SELECT p.policy_id FROM predictions p JOIN the_head h ON p.head_id = h.head_id ORDER BY p.created_at DESC LIMIT 1
), judged AS (
    SELECT p.class_index, p.image_id, p.score, p.kept
    FROM predictions p
    JOIN the_head h ON p.head_id = h.head_id
    JOIN the_policy o ON p.policy_id = o.policy_id
)
SELECT c.class,
       count(*) FILTER (WHERE j.kept) AS kept,
       count(DISTINCT j.image_id) FILTER (WHERE j.kept) AS images,
       median(j.score) FILTER (WHERE j.kept) AS median_score,
       count(j.image_id) AS judged
FROM class_sets c
JOIN the_head h ON c.class_set = h.class_set AND c.version = h.class_set_version
LEFT JOIN judged j ON c.class_index = j.class_index
GROUP BY c.class_index, c.class
ORDER BY kept, c.class_index
