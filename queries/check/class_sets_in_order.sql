-- asks:    Which versions of class sets do not number their classes 0, 1, 2, ..., or name a class twice?
-- params:  none
-- reads:   class_sets
-- grain:   one row per version
-- columns: class_set, version, classes
SELECT class_set, version, count(*) AS classes
FROM class_sets
GROUP BY class_set, version
HAVING min(class_index) <> 0
    OR max(class_index) <> count(*) - 1
    OR count(DISTINCT class_index) <> count(*)
    OR count(DISTINCT class) <> count(*)
