-- asks:    Which detections found which objects, as COCO matches them?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compare with annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
--          iou ONE_OF(mask|box) = mask   -- IoU of masks or of boxes
-- uses:    eval/detections, eval/objects, eval/evaluated_images
-- reads:   detections, objects, evaluated_images
-- grain:   one row per detection and area range it counts in
-- columns: class_index, class, area, image_id, image_order, mask_index, score, rank, matched, ignored, truth
-- notes:   class_index, class, area, image_id, image_order, mask_index, score, rank (from 0), matched and
--          ignored (bit t is for IoU 0.5 + 0.05 t), truth (the object found at IoU 0.5)
WITH found AS (
    SELECT image_id, image_order, class_index, class,
           array_agg(named_struct('ordinal', mask_index, 'score', score, 'area', area, 'bbox', bbox,
                                  'rle', CASE WHEN $iou = 'mask' THEN rle END)) AS detections
    FROM detections
    GROUP BY image_id, image_order, class_index, class
), shapes AS (
    -- An object without a mask cannot be found by its mask: detections in its box are ignored, as in a crowd.
    SELECT o.image_id, o.class_index, o.ordinal, o.area, o.bbox,
           o.iscrowd OR ($iou = 'mask' AND o.rle IS NULL) AS iscrowd,
           CASE WHEN $iou = 'mask' THEN coalesce(o.rle, rle_from_bbox(o.bbox, i.height, i.width)) END AS rle
    FROM objects o
    JOIN evaluated_images i ON o.image_id = i.image_id
), wanted AS (
    SELECT image_id, class_index,
           array_agg(named_struct('ordinal', ordinal, 'area', area, 'iscrowd', iscrowd, 'bbox', bbox,
                                  'rle', rle)) AS truths
    FROM shapes
    GROUP BY image_id, class_index
), matched AS (
    SELECT f.image_id, f.image_order, f.class_index, f.class,
           unnest(match_detections(f.detections, w.truths, $iou)) AS m
    FROM found f
    LEFT JOIN wanted w ON f.image_id = w.image_id AND f.class_index = w.class_index
)
SELECT class_index, class, m['area'] AS area, image_id, image_order, m['ordinal'] AS mask_index,
       m['score'] AS score, m['rank'] AS rank, m['matched'] AS matched, m['ignored'] AS ignored,
       m['truth'] AS truth
FROM matched
