-- asks:    For which classes does a head keep few masks, or keep them with low scores?
-- params:  head HEAD                    -- the head's name, or the first digits of its id
--          policy POLICY(head) = newest -- first digits of the policy's id; newest: the one that was used last
-- uses:    annotate/chosen_predictions
-- reads:   heads, chosen_predictions, class_sets
-- grain:   one row per class of the head, the one with the fewest kept masks first
-- columns: class, kept, images, median_score, predicted
-- notes:   predicted counts masks predicted to be of the class, kept or not)
SELECT c.class,
       count(*) FILTER (WHERE j.kept) AS kept,
       count(DISTINCT j.image_id) FILTER (WHERE j.kept) AS images,
       median(j.score) FILTER (WHERE j.kept) AS median_score,
       count(j.image_id) AS predicted
FROM class_sets c
JOIN heads h ON c.class_set = h.class_set AND c.version = h.class_set_version AND h.head_id = $head
LEFT JOIN chosen_predictions j ON c.class_index = j.class_index
GROUP BY c.class_index, c.class
ORDER BY kept, c.class_index
