-- asks:    How many pixels of each class are found, missed and wrongly claimed in each image?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compare with annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
-- uses:    eval/image_confusion
-- reads:   image_confusion
-- grain:   one row per image and class on it, annotated or predicted, and one for the background (class_index
--          -1). Objects of classes that are not evaluated are background. There are no rows if all objects are boxes
--          without a mask, because nothing then says which pixels are theirs.
-- columns: image_id, class_index, found, missed, claimed
WITH parts AS (
    SELECT image_id, truth_index AS class_index,
           CASE WHEN truth_index = predicted_index THEN pixels ELSE 0 END AS found,
           CASE WHEN truth_index = predicted_index THEN 0 ELSE pixels END AS missed,
           0 AS claimed
    FROM image_confusion
    UNION ALL
    SELECT image_id, predicted_index, 0, 0, pixels
    FROM image_confusion
    WHERE truth_index <> predicted_index
)
SELECT image_id, class_index, sum(found) AS found, sum(missed) AS missed, sum(claimed) AS claimed
FROM parts
GROUP BY image_id, class_index
