-- asks:    What would the best head that there could be detect with an extractor's masks?
-- params:  head HEAD                       -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL        -- only annotations of this data set
--          split SPLIT = NULL              -- only images of this split
--          classes CLASS_SET(head) = own   -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          extractor EXTRACTOR = NULL      -- first digits of the id of the extractor of the masks; NULL: the head's own
-- uses:    eval/best_masks, eval/evaluated_images
-- reads:   best_masks, evaluated_images, masks, heads, extractors
-- grain:   one row per mask that fits some object best
-- columns: image_id, image_order, class_index, class, mask_index, score, share, area, bbox, rle
-- notes:   the columns of eval/detections, of a head that knows the class of every mask and scores it by its IoU; share (of
--          the mask's pixels that are the object's)
WITH own AS (
    -- Masks that people added with the same model are the extractor's, too.
    SELECT DISTINCT x.extractor_id
    FROM extractors x
    JOIN extractors o ON o.extractor_id = coalesce($extractor, (SELECT max(extractor_id) FROM heads WHERE head_id = $head))
    WHERE x.extractor_id = o.extractor_id OR (x.kind = 'prompted' AND x.embedding_space = o.embedding_space)
), best AS (
    SELECT image_id, class_index, class, mask_index, max(iou) AS score, max(share) AS share
    FROM best_masks
    WHERE mask_index IS NOT NULL
    GROUP BY image_id, class_index, class, mask_index
)
SELECT b.image_id, i.image_order, b.class_index, b.class, b.mask_index, b.score, b.share,
       CAST(m.area AS DOUBLE) AS area, m.bbox, m.rle
FROM best b
JOIN evaluated_images i ON b.image_id = i.image_id
JOIN (
    SELECT k.image_id, k.mask_index, k.area, k.bbox, k.rle
    FROM own e
    JOIN masks k ON e.extractor_id = k.extractor_id
) m ON b.image_id = m.image_id AND b.mask_index = m.mask_index
