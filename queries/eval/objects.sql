-- asks:    Which annotated objects should a head find?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- only annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
-- uses:    eval/evaluated_images, eval/evaluated_classes
-- reads:   ground_truth, evaluated_images, evaluated_classes
-- view:    masks are large; they are read as they come
-- grain:   one row per object or crowd region of a class that is evaluated
-- columns: image_id, class_index, class, ordinal, iscrowd, area, bbox, rle
SELECT g.image_id, c.class_index, c.class, coalesce(g.external_id, 0) AS ordinal, g.iscrowd, g.area, g.bbox, g.rle
FROM ground_truth g
JOIN evaluated_images i ON g.image_id = i.image_id
JOIN evaluated_classes c ON g.category = c.label
WHERE NOT g.is_ignored AND ($dataset IS NULL OR g.dataset = $dataset)
