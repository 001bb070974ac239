-- asks:    Which pixels are ignored because they are void, of a crowd, of objects of two classes, or in the box of an
--          object without a mask?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- only annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
-- uses:    eval/evaluated_images, eval/objects, eval/annotated_regions
-- reads:   objects, annotated_regions, ground_truth, evaluated_images
-- grain:   one row per image that has any
-- columns: image_id, rle
WITH parts AS (
    SELECT g.image_id, g.rle
    FROM ground_truth g
    JOIN evaluated_images i ON g.image_id = i.image_id
    WHERE (g.is_ignored OR g.iscrowd) AND g.rle IS NOT NULL AND ($dataset IS NULL OR g.dataset = $dataset)
    UNION ALL
    SELECT image_id, rle_overlap(rle) AS rle FROM annotated_regions GROUP BY image_id
    UNION ALL
    SELECT o.image_id, rle_from_bbox(o.bbox, i.height, i.width)
    FROM objects o
    JOIN evaluated_images i ON o.image_id = i.image_id
    WHERE o.rle IS NULL
)
SELECT image_id, rle_union(rle) AS rle
FROM parts
GROUP BY image_id
