-- asks:    In which splits are there images with annotated objects and predictions of a head?
-- params:  head HEAD -- the head's name, or the first digits of its id
-- reads:   predictions, ground_truth, images
-- grain:   one row per split
-- columns: split
-- notes:   split (null for images of none). In the other splits, a head has nothing that it could be compared with: an image without
--          annotated objects is as empty to an evaluation as one that nobody annotated
SELECT DISTINCT split
FROM images
WHERE image_id IN (SELECT DISTINCT image_id FROM predictions WHERE head_id = $head)
  AND image_id IN (SELECT DISTINCT image_id FROM ground_truth WHERE NOT is_ignored)
ORDER BY split
