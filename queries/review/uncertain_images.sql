-- asks:    On which images is a head least sure of the masks it keeps?
-- params:  head HEAD                    -- the head's name, or the first digits of its id
--          policy POLICY(head) = newest -- first digits of the policy's id; newest: the one that was used last
--          count BIGINT = 1000          -- maximum number of images
-- uses:    annotate/chosen_predictions
-- reads:   chosen_predictions, images
-- grain:   one row per image with a kept mask, the least sure first
-- columns: image_id, file_name, kept, entropy
-- notes:   entropy (mean over the kept masks, nats)
SELECT p.image_id, i.file_name, count(*) AS kept, avg(p.entropy) AS entropy
FROM chosen_predictions p
JOIN images i ON p.image_id = i.image_id
WHERE p.kept AND p.entropy IS NOT NULL
GROUP BY p.image_id, i.file_name
ORDER BY entropy DESC, p.image_id
LIMIT $count
