-- asks:    How many pixels of each class are found, missed and wrongly claimed?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compare with annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
-- uses:    eval/image_pixels, eval/evaluated_classes
-- reads:   evaluated_classes, image_pixels
-- grain:   one row per class and one for the background, over all images
-- columns: class_index, class, found, missed, claimed, iou
-- notes:   class_index (-1 for the background), class, found, missed, claimed, iou (null for a class that is
--          not annotated)
WITH names AS (
    SELECT DISTINCT class_index, class FROM evaluated_classes
    UNION ALL
    SELECT -1, 'background'
), sums AS (
    SELECT class_index, sum(found) AS found, sum(missed) AS missed, sum(claimed) AS claimed
    FROM image_pixels
    GROUP BY class_index
)
SELECT n.class_index, n.class,
       coalesce(s.found, 0) AS found, coalesce(s.missed, 0) AS missed, coalesce(s.claimed, 0) AS claimed,
       CASE WHEN s.found + s.missed > 0 THEN CAST(s.found AS DOUBLE) / (s.found + s.missed + s.claimed) END AS iou
FROM names n
LEFT JOIN sums s ON n.class_index = s.class_index
ORDER BY n.class_index
