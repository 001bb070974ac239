-- asks:    How many objects are there to find, by class and area range?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- only annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          iou ONE_OF(mask|box) = mask   -- mask: only objects with a mask; box: all objects
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
