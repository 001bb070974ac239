-- asks:    What does a head say of each mask?
-- params:  head TEXT          -- name of the head, or its id
--          policy TEXT = NULL -- id of the policy; NULL: the one annotated with last
-- uses:    annotate/chosen_policy
-- reads:   chosen_policy, predictions
-- view:    a row a mask
-- grain:   one row per mask it judged
-- columns: image_id, extractor_id, mask_index, class_index, class, score, entropy, kept
SELECT p.image_id, p.extractor_id, p.mask_index, p.class_index, p.class, p.score, p.entropy, p.kept
FROM predictions p
JOIN chosen_policy o ON p.head_id = o.head_id AND p.policy_id = o.policy_id
