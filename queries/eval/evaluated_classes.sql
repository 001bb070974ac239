-- asks:    In which classes is a head evaluated, and which source labels map to each?
-- params:  head HEAD                     -- name of the head, or the first digits of its id
--          classes CLASS_SET(head) = own -- evaluate in the classes of this set: NAME, its newest version, or NAME@VERSION; own: the head's
-- reads:   class_sets
-- grain:   one row per source label
-- columns: label, class_index, class
SELECT unnest(labels) AS label, class_index, class
FROM class_sets
WHERE concat(class_set, '@', version) = $classes
