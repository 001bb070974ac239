-- asks:    How well do the outlines agree? Boundary IoU of each class, over the pixels near outlines in all
--          images.
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compare with annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
-- uses:    eval/evaluated_classes, eval/image_boundaries
-- reads:   image_boundaries, evaluated_classes
-- grain:   one row per annotated class, and one for their mean (class null)
-- columns: class, metric, value
-- notes:   class, metric (boundary_iou; boundary_miou for the mean), value
WITH ious AS (
    SELECT class_index, CAST(sum(shared) AS DOUBLE) / (sum(annotated) + sum(predicted) - sum(shared)) AS iou
    FROM image_boundaries
    GROUP BY class_index
    HAVING sum(annotated) > 0
), figures AS (
    SELECT i.class_index, c.class, 'boundary_iou' AS metric, i.iou AS value
    FROM ious i
    JOIN (SELECT DISTINCT class_index, class FROM evaluated_classes) c ON i.class_index = c.class_index
    UNION ALL
    SELECT -1, NULL, 'boundary_miou', avg(iou) FROM ious
)
SELECT class, metric, value FROM figures ORDER BY class_index
