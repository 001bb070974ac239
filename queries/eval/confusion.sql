-- asks:    Pixel by pixel, what is annotated and what does the head predict?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compare with annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
-- uses:    eval/evaluated_classes, eval/annotated_regions, eval/predicted_regions, eval/image_pixels
-- reads:   annotated_regions, predicted_regions, image_pixels, evaluated_classes
-- grain:   one row per annotated class and predicted class that share a pixel; the index of the background is
--          -1
-- columns: truth_index, truth, predicted_index, predicted, pixels
WITH shared AS (
    SELECT a.class_index AS truth, p.class_index AS predicted, sum(rle_intersection_area(a.clear, p.clear)) AS pixels
    FROM annotated_regions a
    JOIN predicted_regions p ON a.image_id = p.image_id
    GROUP BY a.class_index, p.class_index
), sums AS (
    SELECT class_index, sum(found) AS found, sum(missed) AS missed, sum(claimed) AS claimed
    FROM image_pixels
    GROUP BY class_index
), cells AS (
    SELECT truth, predicted, pixels FROM shared
    UNION ALL
    SELECT s.class_index, -1, s.found + s.missed - coalesce(o.pixels, 0)
    FROM sums s
    LEFT JOIN (SELECT truth, sum(pixels) AS pixels FROM shared GROUP BY truth) o ON s.class_index = o.truth
    WHERE s.class_index >= 0
    UNION ALL
    SELECT -1, s.class_index, s.found + s.claimed - coalesce(o.pixels, 0)
    FROM sums s
    LEFT JOIN (SELECT predicted, sum(pixels) AS pixels FROM shared GROUP BY predicted) o ON s.class_index = o.predicted
    WHERE s.class_index >= 0
    UNION ALL
    SELECT -1, -1, found FROM sums WHERE class_index = -1
), names AS (
    SELECT DISTINCT class_index, class FROM evaluated_classes
    UNION ALL
    SELECT -1, 'background'
)
SELECT c.truth AS truth_index, t.class AS truth, c.predicted AS predicted_index, p.class AS predicted, c.pixels
FROM cells c
JOIN names t ON c.truth = t.class_index
JOIN names p ON c.predicted = p.class_index
WHERE c.pixels > 0
ORDER BY truth_index, predicted_index
