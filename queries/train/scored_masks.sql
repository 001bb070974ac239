-- asks:    How sure is a head that the masks of labelled images show what the images are labelled with?
-- params:  head HEAD                    -- the head's name, or the first digits of its id
--          policy POLICY(head) = newest -- first digits of the policy's id; newest: the one that was used last
-- uses:    annotate/chosen_predictions
-- reads:   heads, chosen_predictions, class_sets, labels
-- grain:   one row per mask whose predicted class is one of its image's
-- columns: image_id, extractor_id, mask_index, class_index, score
WITH stands_for AS (
    SELECT c.class_index, unnest(c.labels) AS label
    FROM class_sets c
    JOIN heads h ON c.class_set = h.class_set AND c.version = h.class_set_version AND h.head_id = $head
), said AS (
    SELECT DISTINCT l.image_id, f.class_index
    FROM labels l
    JOIN stands_for f ON l.label = f.label
)
SELECT k.image_id, k.extractor_id, k.mask_index, k.class_index, k.score
FROM chosen_predictions k
JOIN said s ON k.image_id = s.image_id AND k.class_index = s.class_index
