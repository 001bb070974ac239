-- asks:    How sure is a head that the masks of labelled images show what the images are labelled with?
-- params:  head HEAD                    -- the head's name, or the first digits of its id
--          policy POLICY(head) = newest -- first digits of the policy's id; newest: the one that was used last
-- uses:    annotate/chosen_predictions, review/image_classes
-- reads:   chosen_predictions, image_classes
-- grain:   one row per mask whose predicted class is one of its image's
-- columns: image_id, extractor_id, mask_index, class_index, score
SELECT k.image_id, k.extractor_id, k.mask_index, k.class_index, k.score
FROM chosen_predictions k
JOIN image_classes s ON k.image_id = s.image_id AND k.class_index = s.class_index
