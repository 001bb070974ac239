-- asks:    On which images is a head least sure of the masks it keeps?
-- params:  head TEXT           -- name of the head, or its id
--          policy TEXT = NULL  -- id of the policy; NULL: the one annotated with last
--          count BIGINT = 1000 -- how many
-- reads:   predictions, images, heads
-- grain:   one row per image with a kept mask, the least sure first
-- columns: image_id, file_name, kept, entropy
-- notes:   entropy (mean over the kept masks, nats)
WITH the_head AS (
    SELECT head_id FROM heads WHERE head = $head OR head_id = $head ORDER BY created_at DESC LIMIT 1
), the_policy AS (
    SELECT p.policy_id
    FROM predictions p
    JOIN the_head h ON p.head_id = h.head_id
    WHERE $policy IS NULL OR p.policy_id = $policy
    GROUP BY p.policy_id
    ORDER BY max(p.created_at) DESC, p.policy_id
    LIMIT 1
)
SELECT p.image_id, i.file_name, count(*) AS kept, avg(p.entropy) AS entropy
FROM predictions p
JOIN the_head h ON p.head_id = h.head_id
JOIN the_policy o ON p.policy_id = o.policy_id
JOIN images i ON p.image_id = i.image_id
WHERE p.kept
GROUP BY p.image_id, i.file_name
ORDER BY entropy DESC, p.image_id
LIMIT $count
