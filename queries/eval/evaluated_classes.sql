-- asks:    In which classes is a head judged, and which source labels does each stand for?
-- params:  head TEXT           -- name of the head, or its id
--          classes TEXT = NULL -- judge in the classes of this set (NAME, its newest version, or NAME@VERSION), not in the head's own
-- uses:    annotate/chosen_head
-- reads:   chosen_head, class_sets
-- grain:   one row per source label
-- columns: label, class_index, class
WITH other AS (
    SELECT class_set, max(version) AS version
    FROM class_sets
    WHERE class_set = $classes OR concat(class_set, '@', version) = $classes
    GROUP BY class_set
), judged AS (
    SELECT class_set, version FROM other
    UNION ALL
    SELECT class_set, class_set_version FROM chosen_head WHERE $classes IS NULL
)
SELECT unnest(c.labels) AS label, c.class_index, c.class
FROM class_sets c
JOIN judged j ON c.class_set = j.class_set AND c.version = j.version
