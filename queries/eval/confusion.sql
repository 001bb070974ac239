-- asks:    Pixel by pixel, what is annotated and what does the head predict?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compare with annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
-- uses:    eval/evaluated_classes, eval/image_confusion
-- reads:   image_confusion, evaluated_classes
-- grain:   one row per annotated class and predicted class that share a pixel; the index of the background is
--          -1
-- columns: truth_index, truth, predicted_index, predicted, pixels
WITH cells AS (
    SELECT truth_index, predicted_index, sum(pixels) AS pixels
    FROM image_confusion
    GROUP BY truth_index, predicted_index
), names AS (
    SELECT DISTINCT class_index, class FROM evaluated_classes
    UNION ALL
    SELECT -1, 'background'
)
SELECT c.truth_index, t.class AS truth, c.predicted_index, p.class AS predicted, c.pixels
FROM cells c
JOIN names t ON c.truth_index = t.class_index
JOIN names p ON c.predicted_index = p.class_index
WHERE c.pixels > 0
ORDER BY c.truth_index, c.predicted_index
