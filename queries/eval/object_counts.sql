-- asks:    How many objects are there to find, by class and area range?
-- params:  head HEAD                     -- name of the head, or the first digits of its id
--          dataset ANNOTATED = NULL      -- annotations of this data set
--          split SPLIT = NULL            -- images of this split only
--          classes CLASS_SET(head) = own -- evaluate in the classes of this set: NAME, its newest version, or NAME@VERSION; own: the head's
--          iou ONE_OF(mask|box) = mask   -- objects with a mask, or with a box: all
-- uses:    eval/objects
-- reads:   objects
-- grain:   one row per class and area range with an object
-- columns: class_index, class, area, objects
SELECT o.class_index, o.class, a.area, count(*) AS objects
FROM objects o
JOIN (VALUES ('all', 0.0, 1e10), ('small', 0.0, 1024.0), ('medium', 1024.0, 9216.0), ('large', 9216.0, 1e10))
     AS a (area, min, max)
  ON o.area >= a.min AND o.area <= a.max
WHERE NOT o.iscrowd AND ($iou = 'box' OR o.rle IS NOT NULL)
GROUP BY o.class_index, o.class, a.area
