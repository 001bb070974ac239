-- asks:    From which score on is each class of a head seldom wrong, as far as labels of images tell?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
--          share DOUBLE = 0.05           -- share of the images without the class in which some mask may be called so
--          by_iou BOOLEAN = false        -- whether scores are multiplied by predicted IoUs
--          min_predicted_iou DOUBLE = 0  -- masks below it do not count
--          min_stability DOUBLE = 0      -- masks below this stability score do not count
-- uses:    annotate/chosen_predictions, review/image_classes
-- reads:   chosen_predictions, image_classes, heads, class_sets, masks
-- grain:   one row per class of the head
-- columns: class, score_threshold, images
-- notes:   score_threshold (above the best score of the class in all but that share of the images of one other class), images
--          (of one other class; the threshold is null where there are fewer than 1 / share). No mask need be labelled: in an
--          image of one class, a mask that is called another is wrong. 'rethreshold --thresholds-from-labels' uses these
WITH labelled AS (
    SELECT image_id, max(class_index) AS class_index
    FROM image_classes
    GROUP BY image_id
    HAVING count(*) = 1
), annotated AS (
    SELECT DISTINCT l.image_id, l.class_index
    FROM labelled l
    JOIN chosen_predictions p ON l.image_id = p.image_id
), classes AS (
    SELECT c.class_index, c.class
    FROM class_sets c
    JOIN heads h ON c.class_set = h.class_set AND c.version = h.class_set_version
    WHERE h.head_id = $head
), best AS (
    SELECT p.image_id, p.class_index,
           max(p.score * CASE WHEN $by_iou THEN coalesce(m.predicted_iou, 1.0) ELSE 1.0 END) AS score
    FROM chosen_predictions p
    JOIN masks m ON p.image_id = m.image_id AND p.extractor_id = m.extractor_id AND p.mask_index = m.mask_index
    WHERE coalesce(m.predicted_iou, 1.0) >= $min_predicted_iou AND coalesce(m.stability_score, 1.0) >= $min_stability
    GROUP BY p.image_id, p.class_index
), wrong AS (
    SELECT c.class_index, c.class, coalesce(b.score, 0.0) AS score,
           row_number() OVER (PARTITION BY c.class_index ORDER BY coalesce(b.score, 0.0) DESC, a.image_id) AS place,
           count(*) OVER (PARTITION BY c.class_index) AS images
    FROM classes c
    JOIN annotated a ON a.class_index <> c.class_index
    LEFT JOIN best b ON a.image_id = b.image_id AND c.class_index = b.class_index
)
SELECT c.class, w.score_threshold, coalesce(w.images, 0) AS images
FROM classes c
LEFT JOIN (
    -- The first that may no longer pass: a threshold just above its score leaves it out.
    SELECT class_index, max(images) AS images,
           max(CASE WHEN place = CAST(floor($share * images) AS BIGINT) + 1 AND images * $share >= 1
                    THEN least(score + 1e-6, 1.0) END) AS score_threshold
    FROM wrong
    GROUP BY class_index
) w ON c.class_index = w.class_index
ORDER BY c.class_index
