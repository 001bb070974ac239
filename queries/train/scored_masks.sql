-- asks:    By which class does a head call the masks of labelled images, and are the images labelled with it?
-- params:  head HEAD                    -- the head's name, or the first digits of its id
--          policy POLICY(head) = newest -- first digits of the policy's id; newest: the one that was used last
-- uses:    annotate/chosen_predictions, review/image_classes
-- reads:   chosen_predictions, image_classes
-- grain:   one row per mask of a labelled image that is called by a class
-- columns: image_id, extractor_id, mask_index, class_index, score, is_on_image
-- notes:   is_on_image (whether the image is labelled with the class)
WITH labelled AS (
    SELECT DISTINCT image_id FROM image_classes
)
SELECT k.image_id, k.extractor_id, k.mask_index, k.class_index, k.score, s.class_index IS NOT NULL AS is_on_image
FROM chosen_predictions k
JOIN labelled l ON k.image_id = l.image_id
LEFT JOIN image_classes s ON k.image_id = s.image_id AND k.class_index = s.class_index
WHERE k.class_index IS NOT NULL
