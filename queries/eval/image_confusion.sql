-- asks:    In each image, how many pixels of each annotated class are predicted as each class?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compare with annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
-- uses:    eval/evaluated_images, eval/unclear_pixels, eval/annotated_regions, eval/predicted_regions,
--          eval/objects_without_mask
-- reads:   annotated_regions, predicted_regions, evaluated_images, unclear_pixels, objects_without_mask
-- grain:   one row per image, annotated class and predicted class that share a pixel; with the background (index -1)
--          each class of the image has a row, and so has the background itself, even if they share none. Objects of
--          classes that are not evaluated are background. There are no rows if all objects are boxes without a
--          mask, because nothing then says which pixels are theirs. Annotations of another size than their image are
--          an error; check/ground_truth_geometry names them.
-- columns: image_id, truth_index, predicted_index, pixels
WITH regions AS (
    SELECT image_id, class_index AS truth_index, CAST(NULL AS INT) AS predicted_index, rle
    FROM annotated_regions
    UNION ALL
    SELECT image_id, NULL, class_index, rle FROM predicted_regions
    UNION ALL
    SELECT image_id, NULL, NULL, rle FROM unclear_pixels
    UNION ALL
    -- No pixel is ignored here: so that an image with nothing on it has a row.
    SELECT image_id, NULL, NULL, rle_from_bbox([0, 0, 0, 0], height, width) FROM evaluated_images
), compared AS (
    SELECT image_id, unnest(pixel_confusion(truth_index, predicted_index, rle)) AS pair
    FROM regions
    GROUP BY image_id
), known AS (
    SELECT objects = 0 OR without_mask < objects AS masks FROM objects_without_mask
)
SELECT image_id, coalesce(pair['truth_index'], -1) AS truth_index, coalesce(pair['predicted_index'], -1) AS predicted_index,
       pair['pixels'] AS pixels
FROM compared
WHERE (SELECT masks FROM known)
