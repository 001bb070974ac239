-- asks:    How many images does an evaluation judge, and how many of them has the head not been asked about?
-- params:  head TEXT           -- name of the head, or its id
--          dataset TEXT = NULL -- images of this data set
--          split TEXT = NULL   -- images of this split only
--          policy TEXT = NULL  -- id of the policy; NULL: any
-- uses:    eval/evaluated_images
-- reads:   predictions, heads, evaluated_images
-- grain:   one row
-- columns: images, without_predictions
WITH asked AS (
    SELECT DISTINCT p.image_id
    FROM predictions p
    JOIN heads h ON p.head_id = h.head_id
    WHERE (h.head = $head OR h.head_id = $head) AND ($policy IS NULL OR p.policy_id = $policy)
)
SELECT count(*) AS images, count(*) FILTER (WHERE a.image_id IS NULL) AS without_predictions
FROM evaluated_images i
LEFT JOIN asked a ON i.image_id = a.image_id
