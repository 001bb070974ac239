-- asks:    In which images is a head sure of a class that their labels do not name?
-- params:  head HEAD                    -- the head's name, or the first digits of its id
--          policy POLICY(head) = newest -- first digits of the policy's id; newest: the one that was used last
--          min DOUBLE = 0.9             -- minimum score at which the head counts as sure
-- uses:    annotate/chosen_predictions, review/image_classes
-- reads:   chosen_predictions, image_classes, labels, images
-- grain:   one row per labelled image and class that it is not labelled with, highest score first
-- columns: file_name, image_id, class, score, masks, labels
WITH sure AS (
    SELECT image_id, class_index, class, max(score) AS score, count(*) AS masks
    FROM chosen_predictions
    WHERE kept AND score >= $min
    GROUP BY image_id, class_index, class
), words AS (
    SELECT image_id, string_agg(DISTINCT label, ', ') AS labels FROM labels GROUP BY image_id
)
SELECT i.file_name, s.image_id, s.class, s.score, s.masks, w.labels
FROM sure s
JOIN images i ON s.image_id = i.image_id
JOIN words w ON s.image_id = w.image_id
LEFT JOIN image_classes d ON s.image_id = d.image_id AND s.class_index = d.class_index
WHERE d.image_id IS NULL
ORDER BY s.score DESC, i.file_name
