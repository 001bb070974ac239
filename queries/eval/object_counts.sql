-- asks:    How many objects are there to find, by class and area range?
-- params:  head TEXT           -- name of the head, or its id
--          dataset TEXT = NULL -- annotations of this data set
--          split TEXT = NULL   -- images of this split only
--          classes TEXT = NULL -- judge in the classes of this set, not in the head's own
-- uses:    eval/objects
-- reads:   objects
-- grain:   one row per class and area range with an object
-- columns: class_index, class, area, objects
SELECT o.class_index, o.class, a.area, count(*) AS objects
FROM objects o
JOIN (VALUES ('all', 0.0, 1e10), ('small', 0.0, 1024.0), ('medium', 1024.0, 9216.0), ('large', 9216.0, 1e10))
     AS a (area, least, greatest)
  ON o.area >= a.least AND o.area <= a.greatest
WHERE NOT o.iscrowd
GROUP BY o.class_index, o.class, a.area
