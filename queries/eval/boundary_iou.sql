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
WITH rims AS (
    SELECT r.image_id, r.class_index, r.is_truth,
           coalesce(rle_difference(r.rim, u.rle), r.rim) AS rim
    FROM (SELECT image_id, class_index, true AS is_truth, rle_boundary(rle) AS rim FROM annotated_regions
          UNION ALL
          SELECT image_id, class_index, false, rle_boundary(rle) FROM predicted_regions) r
    LEFT JOIN unclear_pixels u ON r.image_id = u.image_id
), sums AS (
    SELECT class_index,
           coalesce(sum(rle_area(rim)) FILTER (WHERE is_truth), 0) AS annotated,
           coalesce(sum(rle_area(rim)) FILTER (WHERE NOT is_truth), 0) AS predicted
    FROM rims
    GROUP BY class_index
), shared AS (
    SELECT a.class_index, sum(rle_intersection_area(a.rim, p.rim)) AS pixels
    FROM rims a
    JOIN rims p ON a.image_id = p.image_id AND a.class_index = p.class_index
    WHERE a.is_truth AND NOT p.is_truth
    GROUP BY a.class_index
), ious AS (
    SELECT s.class_index,
           CAST(coalesce(o.pixels, 0) AS DOUBLE) / (s.annotated + s.predicted - coalesce(o.pixels, 0)) AS iou
    FROM sums s
    LEFT JOIN shared o ON s.class_index = o.class_index
    WHERE s.annotated > 0
), figures AS (
    SELECT i.class_index, c.class, 'boundary_iou' AS metric, i.iou AS value
    FROM ious i
    JOIN (SELECT DISTINCT class_index, class FROM evaluated_classes) c ON i.class_index = c.class_index
    UNION ALL
    SELECT -1, NULL, 'boundary_miou', avg(iou) FROM ious
)
SELECT class, metric, value FROM figures ORDER BY class_index
