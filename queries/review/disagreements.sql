-- asks:    On which images do two heads disagree about the same masks?
-- params:  head HEAD                           -- the first head: its name, or the first digits of its id
--          other HEAD                          -- the head to compare with: its name, or the first digits of its id
--          policy POLICY(head) = newest        -- first digits of the policy's id; newest: the one that was used last
--          other_policy POLICY(other) = newest -- the same, for the other head
-- uses:    annotate/chosen_predictions,
--          annotate/chosen_predictions AS other_predictions (head = other; policy = other_policy)
-- reads:   chosen_predictions, other_predictions, images
-- grain:   one row per image with a mask that only one of them keeps, or for which they predict different classes
-- columns: file_name, image_id, masks, only_head, only_other, called_differently
-- notes:   file_name, image_id, masks (that either keeps), only_head, only_other, called_differently
WITH pairs AS (
    SELECT a.image_id, a.mask_index, a.kept AS by_head, b.kept AS by_other, a.class <> b.class AS differs
    FROM chosen_predictions a
    JOIN other_predictions b
        ON a.image_id = b.image_id AND a.mask_index = b.mask_index AND a.extractor_id = b.extractor_id
    WHERE a.kept OR b.kept
)
SELECT i.file_name, p.image_id, count(*) AS masks,
       count(*) FILTER (WHERE by_head AND NOT by_other) AS only_head,
       count(*) FILTER (WHERE by_other AND NOT by_head) AS only_other,
       count(*) FILTER (WHERE by_head AND by_other AND differs) AS called_differently
FROM pairs p
JOIN images i ON p.image_id = i.image_id
GROUP BY i.file_name, p.image_id
HAVING count(*) FILTER (WHERE NOT by_head OR NOT by_other OR differs) > 0
ORDER BY called_differently DESC, only_head + only_other DESC, i.file_name
