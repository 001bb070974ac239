-- asks:    Which annotated objects is a head to find?
-- params:  head HEAD                     -- name of the head, or the first digits of its id
--          dataset ANNOTATED = NULL      -- annotations of this data set
--          split SPLIT = NULL            -- images of this split only
--          classes CLASS_SET(head) = own -- evaluate in the classes of this set: NAME, its newest version, or NAME@VERSION; own: the head's
-- uses:    eval/evaluated_images, eval/evaluated_classes
-- reads:   ground_truth, evaluated_images, evaluated_classes
-- view:    masks are large; they are read as they come
-- grain:   one row per object or crowd region of a class that is judged
-- columns: image_id, class_index, class, ordinal, iscrowd, area, bbox, rle
SELECT g.image_id, c.class_index, c.class, coalesce(g.external_id, 0) AS ordinal, g.iscrowd, g.area, g.bbox, g.rle
FROM ground_truth g
JOIN evaluated_images i ON g.image_id = i.image_id
JOIN evaluated_classes c ON g.category = c.label
WHERE NOT g.is_ignored AND ($dataset IS NULL OR g.dataset = $dataset)
