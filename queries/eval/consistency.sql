-- asks:    Does one head's class imply another's? Of the masks that both keep, how often does a class of the first
--          agree with that of the other, as their labels say it should?
-- params:  head HEAD                           -- the finer head: its name, or the first digits of its id
--          other HEAD                          -- the coarser head
--          policy POLICY(head) = newest        -- first digits of the policy's id; newest: the one that was used last
--          other_policy POLICY(other) = newest -- the same, for the coarser head
-- uses:    annotate/chosen_predictions,
--          annotate/chosen_predictions AS other_predictions (head = other; policy = other_policy)
-- reads:   heads, chosen_predictions, other_predictions, class_sets
-- grain:   one row per class of the first head and class that the other predicts for the same masks
-- columns: class, other_class, masks, implied
-- notes:   class, other_class, masks, implied (whether all labels of the class are labels of the other class)
WITH chosen AS (
    SELECT class_set, class_set_version, 1 AS which FROM heads WHERE head_id = $head
    UNION ALL
    SELECT class_set, class_set_version, 2 FROM heads WHERE head_id = $other
), kept AS (
    SELECT 1 AS which, image_id, extractor_id, mask_index, class_index, class FROM chosen_predictions WHERE kept
    UNION ALL
    SELECT 2, image_id, extractor_id, mask_index, class_index, class FROM other_predictions WHERE kept
), class_labels AS (
    SELECT c.which, s.class_index, unnest(s.labels) AS label
    FROM class_sets s
    JOIN chosen c ON s.class_set = c.class_set AND s.version = c.class_set_version
), implied AS (
    SELECT a.class_index, b.class_index AS other_index, count(*) AS labels
    FROM class_labels a
    JOIN class_labels b ON a.label = b.label
    WHERE a.which = 1 AND b.which = 2
    GROUP BY a.class_index, b.class_index
), sizes AS (
    SELECT class_index, count(*) AS labels FROM class_labels WHERE which = 1 GROUP BY class_index
), pairs AS (
    SELECT a.class_index, a.class, b.class_index AS other_index, b.class AS other_class, count(*) AS masks
    FROM kept a
    JOIN kept b ON a.image_id = b.image_id AND a.extractor_id = b.extractor_id AND a.mask_index = b.mask_index
    WHERE a.which = 1 AND b.which = 2
    GROUP BY a.class_index, a.class, b.class_index, b.class
)
SELECT p.class, p.other_class, p.masks, coalesce(i.labels = s.labels, false) AS implied
FROM pairs p
JOIN sizes s ON p.class_index = s.class_index
LEFT JOIN implied i ON p.class_index = i.class_index AND p.other_index = i.other_index
ORDER BY p.class_index, p.masks DESC
