-- asks:    On which images do the predicted pixels agree with the annotated ones, and on which not?
-- params:  head TEXT           -- name of the head, or its id
--          dataset TEXT = NULL -- held against annotations of this data set
--          split TEXT = NULL   -- images of this split only
--          classes TEXT = NULL -- judge in the classes of this set, not in the head's own
--          policy TEXT = NULL  -- id of the policy; NULL: the one annotated with last
-- uses:    eval/image_pixels
-- reads:   image_pixels, images
-- grain:   one row per image, the best first
-- columns: image_id, file_name, iou, classes
-- notes:   iou (mean over the classes annotated or predicted on the image, and the background), classes (how many)
SELECT p.image_id, i.file_name,
       avg(CAST(p.found AS DOUBLE) / (p.found + p.missed + p.claimed)) AS iou,
       count(*) FILTER (WHERE p.class_index >= 0) AS classes
FROM image_pixels p
JOIN images i ON p.image_id = i.image_id
WHERE p.found + p.missed + p.claimed > 0
GROUP BY p.image_id, i.file_name
ORDER BY iou DESC, p.image_id
