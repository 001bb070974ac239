-- asks:    What does a head predict for each mask?
-- params:  head HEAD                    -- name of the head, or the first digits of its id
--          policy POLICY(head) = newest -- first digits of the policy's id; newest: the one that was used last
-- reads:   predictions
-- view:    a row a mask
-- grain:   one row per mask that it was asked about
-- columns: image_id, extractor_id, mask_index, class_index, class, score, entropy, kept
SELECT image_id, extractor_id, mask_index, class_index, class, score, entropy, kept
FROM predictions
WHERE head_id = $head AND policy_id = $policy
