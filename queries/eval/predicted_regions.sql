-- asks:    Which pixels does a head predict for each class? By the policy's rule: the class of the best-scoring mask, or a vote.
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compare with annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
-- uses:    eval/mapped_masks
-- reads:   mapped_masks
-- grain:   one row per image and class
-- columns: image_id, class_index, rle
-- notes:   image_id, class_index, rle (with pixels that are ignored: eval/unclear_pixels)
WITH painted AS (
    SELECT image_id, unnest(semantic_map(rle, class_index, score, mask_index, tau)) AS part
    FROM mapped_masks
    GROUP BY image_id
)
SELECT image_id, part['class_index'] AS class_index, part['rle'] AS rle
FROM painted
