-- asks:    Which annotated objects is a head to find?
-- params:  head TEXT           -- name of the head, or its id
--          dataset TEXT = NULL -- annotations of this data set
--          split TEXT = NULL   -- images of this split only
--          classes TEXT = NULL -- judge in the classes of this set, not in the head's own
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
