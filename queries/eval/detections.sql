-- asks:    Which masks does a head's annotation keep, in the classes it is judged in?
-- params:  head TEXT           -- name of the head, or its id
--          dataset TEXT = NULL -- held against annotations of this data set
--          split TEXT = NULL   -- images of this split only
--          classes TEXT = NULL -- judge in the classes of this set, not in the head's own
--          policy TEXT = NULL  -- id of the policy; NULL: the one annotated with last
-- uses:    eval/evaluated_images, eval/evaluated_classes
-- reads:   heads, predictions, class_sets, evaluated_classes, masks, evaluated_images, extractors
-- view:    masks are large; they are read as they come
-- grain:   one row per mask that is kept
-- columns: image_id, image_order, class_index, class, mask_index, score, area, bbox, rle
WITH the_head AS (
    SELECT head_id, class_set, class_set_version
    FROM heads
    WHERE head = $head OR head_id = $head
    ORDER BY created_at DESC
    LIMIT 1
), the_policy AS (
    SELECT p.policy_id
    FROM predictions p
    JOIN the_head h ON p.head_id = h.head_id
    WHERE $policy IS NULL OR p.policy_id = $policy
    GROUP BY p.policy_id
    ORDER BY max(p.created_at) DESC, p.policy_id
    LIMIT 1
), own_labels AS (
    SELECT c.class_index, unnest(c.labels) AS label
    FROM class_sets c
    JOIN the_head h ON c.class_set = h.class_set AND c.version = h.class_set_version
), judged_as AS (
    -- A class of the head counts as the class that holds its labels.
    SELECT DISTINCT o.class_index AS own_index, e.class_index, e.class
    FROM own_labels o
    JOIN evaluated_classes e ON o.label = e.label
), kept AS (
    SELECT p.image_id, p.extractor_id, p.mask_index, p.class_index, p.score
    FROM predictions p
    JOIN the_head h ON p.head_id = h.head_id
    JOIN the_policy o ON p.policy_id = o.policy_id
    WHERE p.kept
)
SELECT k.image_id, i.image_order, j.class_index, j.class, k.mask_index, k.score,
       CASE WHEN x.model_type = 'imported boxes' THEN m.bbox[3] * m.bbox[4]
            ELSE CAST(m.area AS DOUBLE) END AS area,
       m.bbox, m.rle
FROM masks m
JOIN kept k ON m.image_id = k.image_id AND m.mask_index = k.mask_index AND m.extractor_id = k.extractor_id
JOIN evaluated_images i ON k.image_id = i.image_id
JOIN judged_as j ON k.class_index = j.own_index
JOIN extractors x ON k.extractor_id = x.extractor_id
