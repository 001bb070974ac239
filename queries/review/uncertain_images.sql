-- asks:    On which images is a head least sure of the masks it keeps?
-- params:  head TEXT           -- name of the head, or its id
--          policy TEXT = NULL  -- id of the policy; NULL: the one annotated with last
--          count BIGINT = 1000 -- how many
-- uses:    annotate/chosen_predictions
-- reads:   chosen_predictions, images
-- grain:   one row per image with a kept mask, the least sure first
-- columns: image_id, file_name, kept, entropy
-- notes:   entropy (mean over the kept masks, nats)
SELECT p.image_id, i.file_name, count(*) AS kept, avg(p.entropy) AS entropy
FROM chosen_predictions p
JOIN images i ON p.image_id = i.image_id
WHERE p.kept
GROUP BY p.image_id, i.file_name
ORDER BY entropy DESC, p.image_id
LIMIT $count
