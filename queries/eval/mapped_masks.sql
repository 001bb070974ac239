-- asks:    Which masks make up a head's semantic maps, in the classes it is evaluated in?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compare with annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
-- uses:    annotate/chosen_predictions, eval/evaluated_images, eval/evaluated_as
-- reads:   chosen_predictions, evaluated_as, masks, evaluated_images, policies
-- view:    masks are large; they are read as they come
-- grain:   one row per kept mask or, if the policy lets masks vote, per mask of good quality and of a class
--          that is on its image
-- columns: image_id, class_index, mask_index, score, tau, rle
-- notes:   class_index (null for a mask of a class that is not evaluated), tau (the minimum mean score of a vote; null
--          where masks are painted over each other)
WITH rule AS (
    SELECT CAST(regexp_match(policy, '"vote":([0-9.eE+-]+)')[1] AS DOUBLE) AS tau,
           policy LIKE '%"score":"p*iou"%' AS by_iou
    FROM policies
    WHERE policy_id = $policy
)
SELECT k.image_id, j.class_index, k.mask_index,
       k.score * CASE WHEN (SELECT by_iou FROM rule) THEN coalesce(m.predicted_iou, 1.0) ELSE 1.0 END AS score,
       (SELECT tau FROM rule) AS tau, m.rle
FROM masks m
JOIN chosen_predictions k
    ON m.image_id = k.image_id AND m.mask_index = k.mask_index AND m.extractor_id = k.extractor_id
JOIN evaluated_images i ON k.image_id = i.image_id
LEFT JOIN evaluated_as j ON k.class_index = j.own_index
WHERE CASE WHEN (SELECT tau FROM rule) IS NULL THEN k.kept AND j.class_index IS NOT NULL
           ELSE k.dropped IS NULL OR k.dropped NOT IN ('quality', 'image_gate') END
