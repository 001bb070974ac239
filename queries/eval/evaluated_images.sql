-- asks:    Which images does an evaluation cover?
-- params:  dataset ANNOTATED = NULL -- only images of this data set; NULL: of every data set that has annotations
--          split SPLIT = NULL       -- only images of this split
-- reads:   ground_truth, images
-- grain:   one row per image: those with annotations, and those of an annotated data set that show nothing
-- columns: image_id, width, height, image_order
-- notes:   image_id, width, height, image_order (by the data set's own ids, as in pycocotools)
WITH annotated AS (
    SELECT DISTINCT image_id, dataset
    FROM ground_truth
    WHERE $dataset IS NULL OR dataset = $dataset
)
SELECT image_id, width, height,
       row_number() OVER (ORDER BY external_id NULLS LAST, image_id) AS image_order
FROM images
WHERE ($split IS NULL OR split = $split)
  AND (image_id IN (SELECT DISTINCT image_id FROM annotated)
       OR dataset = $dataset
       OR ($dataset IS NULL AND dataset IN (SELECT DISTINCT dataset FROM annotated)))
