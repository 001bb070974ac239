-- asks:    In each image, how many pixels near outlines are annotated, predicted and both, for each class?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compare with annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
-- uses:    eval/evaluated_images, eval/annotated_regions, eval/predicted_regions, eval/unclear_pixels
-- reads:   annotated_regions, predicted_regions, unclear_pixels, evaluated_images
-- parts:   evaluated_images
-- grain:   one row per image and class on it, annotated or predicted
-- columns: image_id, class_index, annotated, predicted, shared
WITH regions AS (
    SELECT image_id, class_index, true AS is_truth, rle_boundary(rle) AS rim FROM annotated_regions
    UNION ALL
    -- Of the images of this part, even if other rows are in the place of mapped_masks.
    SELECT p.image_id, p.class_index, false, rle_boundary(p.rle)
    FROM evaluated_images i
    JOIN predicted_regions p ON p.image_id = i.image_id
), rims AS (
    SELECT r.image_id, r.class_index, r.is_truth, coalesce(rle_difference(r.rim, u.rle), r.rim) AS rim
    FROM regions r
    LEFT JOIN unclear_pixels u ON r.image_id = u.image_id
), counts AS (
    SELECT image_id, class_index,
           CASE WHEN is_truth THEN rle_area(rim) ELSE 0 END AS annotated,
           CASE WHEN is_truth THEN 0 ELSE rle_area(rim) END AS predicted,
           0 AS shared
    FROM rims
    UNION ALL
    SELECT a.image_id, a.class_index, 0, 0, rle_intersection_area(a.rim, p.rim)
    FROM rims a
    JOIN rims p ON a.image_id = p.image_id AND a.class_index = p.class_index
    WHERE a.is_truth AND NOT p.is_truth
)
SELECT image_id, class_index, sum(annotated) AS annotated, sum(predicted) AS predicted, sum(shared) AS shared
FROM counts
GROUP BY image_id, class_index
