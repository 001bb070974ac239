-- asks:    Which masks, of which labelled images, is a head trained on?
-- params:  extractor EXTRACTOR -- first digits of its id
-- reads:   labels, images, masks
-- grain:   one row per mask of a labelled image
-- columns: image_id, extractor_id, mask_index, labels, negative, embedding
-- notes:   negative (whether the image is said to show none of the classes; 'train --negatives' puts its condition here)
SELECT m.image_id, m.extractor_id, m.mask_index, l.labels, i.negative, m.embedding
FROM (SELECT image_id, false AS negative FROM images WHERE source IN ('web', 'synthetic')) i
LEFT JOIN (SELECT image_id, array_agg(DISTINCT label) AS labels FROM labels GROUP BY image_id) l
    ON i.image_id = l.image_id
JOIN masks m ON m.image_id = i.image_id
WHERE m.extractor_id = $extractor AND (i.negative OR l.labels IS NOT NULL)
