-- asks:    What does a head predict for each mask?
-- params:  head HEAD                    -- the head's name, or the first digits of its id
--          policy POLICY(head) = newest -- first digits of the policy's id; newest: the one that was used last
-- reads:   predictions
-- view:    it has one row per mask
-- grain:   one row per mask that it has a prediction for
-- columns: image_id, extractor_id, mask_index, class_index, class, score, entropy, kept, dropped
SELECT image_id, extractor_id, mask_index, class_index, class, score, entropy, kept, dropped
FROM predictions
WHERE head_id = $head AND policy_id = $policy
