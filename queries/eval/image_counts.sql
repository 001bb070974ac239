-- asks:    How many images does an evaluation cover, and for how many of them does the head have no predictions?
-- params:  head HEAD                    -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL     -- only images of this data set
--          split SPLIT = NULL           -- only images of this split
--          policy POLICY(head) = newest -- first digits of the policy's id; newest: the one that was used last
-- uses:    annotate/chosen_predictions, eval/evaluated_images
-- reads:   chosen_predictions, evaluated_images
-- grain:   one row
-- columns: images, without_predictions
WITH asked AS (
    SELECT DISTINCT image_id FROM chosen_predictions
)
SELECT count(*) AS images, count(*) FILTER (WHERE a.image_id IS NULL) AS without_predictions
FROM evaluated_images i
LEFT JOIN asked a ON i.image_id = a.image_id
