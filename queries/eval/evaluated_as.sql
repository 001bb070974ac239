-- asks:    As which class does each class of a head count in the class set that it is evaluated in?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
-- uses:    eval/evaluated_classes
-- reads:   heads, class_sets, evaluated_classes
-- grain:   one row per class of the head and class that holds one of its labels
-- columns: own_index, class_index, class
SELECT DISTINCT o.class_index AS own_index, e.class_index, e.class
FROM (
    SELECT c.class_index, unnest(c.labels) AS label
    FROM class_sets c
    JOIN heads h ON c.class_set = h.class_set AND c.version = h.class_set_version AND h.head_id = $head
) o
JOIN evaluated_classes e ON o.label = e.label
