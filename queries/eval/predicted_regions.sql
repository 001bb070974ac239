-- asks:    Which pixels does a head predict for each class? By the policy's rule: the class of the best-scoring mask, or a vote.
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compare with annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
-- uses:    eval/mapped_masks, eval/unclear_pixels
-- reads:   mapped_masks, unclear_pixels
-- grain:   one row per image and class
-- columns: image_id, class_index, rle, clear
-- notes:   image_id, class_index, rle, clear (rle without the pixels that are ignored)
WITH painted AS (
    SELECT image_id, unnest(semantic_map(rle, class_index, score, mask_index, tau)) AS part
    FROM mapped_masks
    GROUP BY image_id
), regions AS (
    SELECT image_id, part['class_index'] AS class_index, part['rle'] AS rle
    FROM painted
)
SELECT r.image_id, r.class_index, r.rle, coalesce(rle_difference(r.rle, u.rle), r.rle) AS clear
FROM regions r
LEFT JOIN unclear_pixels u ON r.image_id = u.image_id
