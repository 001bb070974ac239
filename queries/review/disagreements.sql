-- asks:    On which images do two heads of the same masks disagree?
-- params:  head TEXT  -- name of the one
--          other TEXT -- name of the other
-- reads:   predictions, heads, images
-- grain:   one row per image with a mask that one of them keeps and the other does not, or that they call
--          differently
-- columns: file_name, image_id, masks, only_head, only_other, called_differently
-- notes:   file_name, image_id, masks (that either keeps), only_head, only_other, called_differently
WITH latest AS (
    SELECT h.head, p.head_id, p.policy_id,
           row_number() OVER (PARTITION BY h.head ORDER BY h.created_at DESC, max(p.created_at) DESC) AS place
    FROM predictions p
    JOIN heads h ON p.head_id = h.head_id
    WHERE h.head IN ($head, $other)
    GROUP BY h.head, h.created_at, p.head_id, p.policy_id
), kept AS (
    SELECT l.head, p.image_id, p.mask_index, p.extractor_id, p.class, p.kept
    FROM predictions p
    JOIN latest l ON p.head_id = l.head_id AND p.policy_id = l.policy_id
    WHERE l.place = 1
), pairs AS (
    SELECT a.image_id, a.mask_index, a.kept AS by_head, b.kept AS by_other, a.class <> b.class AS differs
    FROM kept a
    JOIN kept b ON a.image_id = b.image_id AND a.mask_index = b.mask_index AND a.extractor_id = b.extractor_id
    WHERE a.head = $head AND b.head = $other AND (a.kept OR b.kept)
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
