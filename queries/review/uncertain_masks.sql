-- asks:    Which kept masks is a head least sure of?
-- params:  head TEXT           -- name of the head
--          count BIGINT = 100  -- how many
-- reads:   predictions, images, heads
-- grain:   one row per mask, the least sure first
-- columns: file_name, image_id, mask_index, class, score, entropy
SELECT i.file_name, p.image_id, p.mask_index, p.class, p.score, p.entropy
FROM predictions p
JOIN images i ON p.image_id = i.image_id
WHERE p.kept
  AND p.policy_id = (SELECT o.policy_id FROM predictions o JOIN heads h ON o.head_id = h.head_id
                     WHERE h.head = $head ORDER BY o.created_at DESC LIMIT 1)
  AND p.head_id = (SELECT head_id FROM heads WHERE head = $head ORDER BY created_at DESC LIMIT 1)
ORDER BY p.entropy DESC, p.image_id, p.mask_index
LIMIT $count
