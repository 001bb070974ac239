-- asks:    What does a head say of each mask, and how sure is it?
-- params:  head HEAD                    -- the head's name, or the first digits of its id
--          policy POLICY(head) = newest -- first digits of the policy's id; newest: the one that was used last
-- uses:    annotate/chosen_predictions
-- reads:   chosen_predictions
-- view:    it has one row per mask
-- grain:   one row per mask that the head has a prediction for
-- columns: image_id, extractor_id, mask_index, class_index, class, score, entropy, disagreement
-- notes:   disagreement (of the head's members, in nats) is null here; 'grainstore queue disagreement' computes it
SELECT image_id, extractor_id, mask_index, class_index, class, score, entropy, CAST(NULL AS DOUBLE) AS disagreement
FROM chosen_predictions
WHERE dropped IS NULL OR dropped <> 'quality'
