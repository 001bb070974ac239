-- asks:    In which classes is a head evaluated, and which source labels map to each of them?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
-- reads:   class_sets
-- grain:   one row per source label
-- columns: label, class_index, class
SELECT unnest(labels) AS label, class_index, class
FROM class_sets
WHERE concat(class_set, '@', version) = $classes
