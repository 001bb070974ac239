-- asks:    Which masks, of which labelled images, is a head trained on?
-- params:  extractor EXTRACTOR -- first digits of its id
-- uses:    review/said_of_masks
-- reads:   said_of_masks, labels, images, masks
-- grain:   one row per mask of a labelled image, or that is labelled itself
-- columns: image_id, extractor_id, mask_index, labels, negative, mask_is, mask_is_not, mask_is_none, mask_is_bad, embedding
-- notes:   labels (of the image; null where only its masks are labelled), negative (whether the image is said to show
--          none of the classes; 'train --negatives' puts its condition here). Of images that are not to be trained on by
--          their labels, the masks that are labelled themselves are there all the same; 'train --where' leaves them out
SELECT m.image_id, m.extractor_id, m.mask_index, CASE WHEN i.bag THEN l.labels END AS labels, i.negative,
       s.mask_is, s.mask_is_not, s.mask_is_none, s.mask_is_bad, m.embedding
FROM said_of_masks s
RIGHT JOIN (
    (
        SELECT image_id, coalesce(source IN ('web', 'synthetic'), false) AS bag, false AS negative
        FROM images
        WHERE source IN ('web', 'synthetic') OR image_id IN (SELECT DISTINCT image_id FROM said_of_masks)
    ) i
    LEFT JOIN (SELECT image_id, array_agg(DISTINCT label) AS labels FROM labels GROUP BY image_id) l
        ON i.image_id = l.image_id
    JOIN masks m ON m.image_id = i.image_id
) ON s.image_id = m.image_id AND s.extractor_id = m.extractor_id AND s.mask_index = m.mask_index
WHERE m.extractor_id = $extractor
    AND (i.negative OR (i.bag AND l.labels IS NOT NULL) OR s.mask_index IS NOT NULL)
