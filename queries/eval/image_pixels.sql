-- asks:    How many pixels of each class are found, missed and wrongly claimed in each image?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compare with annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
-- uses:    eval/evaluated_images, eval/unclear_pixels, eval/annotated_regions, eval/predicted_regions,
--          eval/objects
-- reads:   annotated_regions, predicted_regions, evaluated_images, unclear_pixels, objects
-- grain:   one row per image and class on it, annotated or predicted, and one for the background (class_index
--          -1). Objects of classes that are not evaluated are background. There are no rows if all objects are boxes
--          without a mask, because nothing then says which pixels are theirs.
-- columns: image_id, class_index, found, missed, claimed
WITH overlaps AS (
    SELECT a.image_id, a.class_index AS truth_index, p.class_index AS predicted_index,
           rle_intersection_area(a.clear, p.clear) AS pixels
    FROM annotated_regions a
    JOIN predicted_regions p ON a.image_id = p.image_id
), areas AS (
    SELECT image_id, class_index, rle_area(clear) AS annotated, CAST(0 AS BIGINT) AS predicted, CAST(0 AS BIGINT) AS found
    FROM annotated_regions
    UNION ALL
    SELECT image_id, class_index, 0, rle_area(clear), 0
    FROM predicted_regions
    UNION ALL
    SELECT image_id, truth_index, 0, 0, pixels
    FROM overlaps
    WHERE truth_index = predicted_index
), of_classes AS (
    SELECT image_id, class_index, sum(annotated) AS annotated, sum(predicted) AS predicted, sum(found) AS found
    FROM areas
    GROUP BY image_id, class_index
), sums AS (
    SELECT image_id, sum(annotated) AS annotated, sum(predicted) AS predicted
    FROM of_classes
    GROUP BY image_id
), shared AS (
    SELECT image_id, sum(pixels) AS pixels FROM overlaps GROUP BY image_id
), backgrounds AS (
    SELECT i.image_id,
           CAST(i.width AS BIGINT) * i.height - coalesce(rle_area(u.rle), 0) AS evaluated,
           coalesce(s.annotated, 0) AS annotated, coalesce(s.predicted, 0) AS predicted, coalesce(o.pixels, 0) AS shared
    FROM evaluated_images i
    LEFT JOIN unclear_pixels u ON i.image_id = u.image_id
    LEFT JOIN sums s ON i.image_id = s.image_id
    LEFT JOIN shared o ON i.image_id = o.image_id
), known AS (
    SELECT count(rle) > 0 OR count(*) = 0 AS masks FROM objects
)
SELECT image_id, class_index, found, annotated - found AS missed, predicted - found AS claimed
FROM of_classes
WHERE (SELECT masks FROM known)
UNION ALL
SELECT image_id, -1, evaluated - annotated - predicted + shared, predicted - shared, annotated - shared
FROM backgrounds
WHERE (SELECT masks FROM known)
