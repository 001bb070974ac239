-- asks:    Which mask of an extractor fits each annotated object best?
-- params:  head HEAD                       -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL        -- only annotations of this data set
--          split SPLIT = NULL              -- only images of this split
--          classes CLASS_SET(head) = own   -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          extractor EXTRACTOR = NULL      -- first digits of the id of the extractor of the masks; NULL: the head's own
-- uses:    eval/objects
-- reads:   objects, masks, heads, extractors
-- grain:   one row per object with a mask, crowds left out
-- columns: image_id, class_index, class, object_area, mask_index, iou, share
-- notes:   mask_index (null where no mask of its class overlaps it), iou (0 there), share (of the mask's pixels that are
--          the object's). A mask has one class: that of the object with which its IoU is greatest
WITH numbered AS (
    SELECT image_id, class_index, class, area, rle,
           row_number() OVER (ORDER BY image_id, class_index, ordinal, area) AS object
    FROM objects
    WHERE NOT iscrowd AND rle IS NOT NULL
), own AS (
    -- Masks that people added with the same model are the extractor's, too.
    SELECT DISTINCT x.extractor_id
    FROM extractors x
    JOIN extractors o ON o.extractor_id = coalesce($extractor, (SELECT max(extractor_id) FROM heads WHERE head_id = $head))
    WHERE x.extractor_id = o.extractor_id OR (x.kind = 'prompted' AND x.embedding_space = o.embedding_space)
), pairs AS (
    SELECT o.object, o.image_id, o.class_index, m.mask_index, rle_iou(m.rle, o.rle) AS iou,
           CAST(rle_intersection_area(m.rle, o.rle) AS DOUBLE) / nullif(m.area, 0) AS share
    FROM numbered o
    JOIN (
        SELECT k.image_id, k.mask_index, k.area, k.rle
        FROM own e
        JOIN masks k ON e.extractor_id = k.extractor_id
    ) m ON o.image_id = m.image_id
), owned AS (
    SELECT *, first_value(class_index) OVER (
               PARTITION BY image_id, mask_index ORDER BY iou DESC, object
           ) AS mask_class
    FROM pairs
    WHERE iou > 0
), ranked AS (
    SELECT object, mask_index, iou, share,
           row_number() OVER (PARTITION BY object ORDER BY iou DESC, mask_index) AS place
    FROM owned
    WHERE class_index = mask_class
)
SELECT o.image_id, o.class_index, o.class, o.area AS object_area, r.mask_index, coalesce(r.iou, 0.0) AS iou, r.share
FROM numbered o
LEFT JOIN ranked r ON o.object = r.object AND r.place = 1
