-- asks:    Which classes of a head are images labelled with?
-- params:  head HEAD -- the head's name, or the first digits of its id
-- reads:   heads, class_sets, labels
-- grain:   one row per labelled image and class
-- columns: image_id, class_index
SELECT DISTINCT l.image_id, f.class_index
FROM labels l
JOIN (
    SELECT c.class_index, unnest(c.labels) AS label
    FROM class_sets c
    JOIN heads h ON c.class_set = h.class_set AND c.version = h.class_set_version AND h.head_id = $head
) f ON l.label = f.label
