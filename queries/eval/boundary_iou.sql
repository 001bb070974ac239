-- asks:    How well do the outlines agree? Boundary IoU of each class, over the pixels near outlines in all
--          images.
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compare with annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
-- uses:    eval/evaluated_classes, eval/annotated_regions, eval/predicted_regions, eval/unclear_pixels
-- reads:   annotated_regions, predicted_regions, unclear_pixels, evaluated_classes
-- grain:   one row per annotated class, and one for their mean (class null)
-- columns: class, metric, value
-- notes:   class, metric (boundary_iou; boundary_miou for the mean), value
WITH pairs AS (
    SELECT coalesce(a.image_id, p.image_id) AS image_id, coalesce(a.class_index, p.class_index) AS class_index,
           rle_boundary(a.rle) AS truth, rle_boundary(p.rle) AS found
    FROM annotated_regions a
    FULL JOIN predicted_regions p ON a.image_id = p.image_id AND a.class_index = p.class_index
), rims AS (
    SELECT r.class_index, coalesce(rle_difference(r.truth, u.rle), r.truth) AS truth,
           coalesce(rle_difference(r.found, u.rle), r.found) AS found
    FROM pairs r
    LEFT JOIN unclear_pixels u ON r.image_id = u.image_id
), sums AS (
    SELECT class_index, coalesce(sum(rle_area(truth)), 0) AS annotated, coalesce(sum(rle_area(found)), 0) AS predicted,
           coalesce(sum(rle_intersection_area(truth, found)), 0) AS shared
    FROM rims
    GROUP BY class_index
), ious AS (
    SELECT class_index, CAST(shared AS DOUBLE) / (annotated + predicted - shared) AS iou
    FROM sums
    WHERE annotated > 0
), figures AS (
    SELECT class_index, avg(iou) AS value
    FROM ious
    GROUP BY GROUPING SETS ((class_index), ())
)
SELECT c.class, CASE WHEN f.class_index IS NULL THEN 'boundary_miou' ELSE 'boundary_iou' END AS metric, f.value
FROM figures f
LEFT JOIN (SELECT DISTINCT class_index, class FROM evaluated_classes) c ON f.class_index = c.class_index
ORDER BY f.class_index NULLS FIRST
