-- asks:    Which masks does a head's annotation keep, in the classes it is evaluated in?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compare with annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
-- uses:    annotate/chosen_predictions, eval/evaluated_images, eval/evaluated_as
-- reads:   chosen_predictions, evaluated_as, masks, evaluated_images, extractors, policies
-- view:    masks are large; they are read as they come
-- grain:   one row per kept mask
-- columns: image_id, image_order, class_index, class, mask_index, score, area, bbox, rle
-- notes:   score (by the policy's rule: the probability, or that times the predicted IoU)
WITH rule AS (
    -- Its value is read by a scalar subquery: a cross join would make a batch of every row.
    SELECT coalesce(max(policy), '') LIKE '%"score":"p*iou"%' AS by_iou
    FROM policies
    WHERE policy_id = $policy
)
SELECT k.image_id, i.image_order, j.class_index, j.class, k.mask_index,
       k.score * CASE WHEN (SELECT by_iou FROM rule) THEN coalesce(m.predicted_iou, 1.0) ELSE 1.0 END AS score,
       CASE WHEN x.kind = 'imported boxes' THEN m.bbox[3] * m.bbox[4]
            ELSE CAST(m.area AS DOUBLE) END AS area,
       m.bbox, m.rle
FROM masks m
JOIN chosen_predictions k
    ON m.image_id = k.image_id AND m.mask_index = k.mask_index AND m.extractor_id = k.extractor_id
JOIN evaluated_images i ON k.image_id = i.image_id
JOIN evaluated_as j ON k.class_index = j.own_index
JOIN extractors x ON k.extractor_id = x.extractor_id
WHERE k.kept
