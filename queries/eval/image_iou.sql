-- asks:    On which images do the predicted pixels agree with the annotated ones, and on which do they not?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compare with annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
-- uses:    eval/image_pixels
-- reads:   image_pixels, images
-- grain:   one row per image, the best first
-- columns: image_id, file_name, iou, classes
-- notes:   iou (mean over the classes annotated or predicted on the image, and the background), classes (their number)
SELECT p.image_id, i.file_name,
       avg(CAST(p.found AS DOUBLE) / (p.found + p.missed + p.claimed)) AS iou,
       count(*) FILTER (WHERE p.class_index >= 0) AS classes
FROM image_pixels p
JOIN images i ON p.image_id = i.image_id
WHERE p.found + p.missed + p.claimed > 0
GROUP BY p.image_id, i.file_name
ORDER BY iou DESC, p.image_id
