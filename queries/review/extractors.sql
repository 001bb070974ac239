-- asks:    What has each extractor done, and what is left to do?
-- params:  none
-- reads:   extractors, extractions, images
-- grain:   one row per extractor
-- columns: extractor_id, kind, model_type, checkpoint, options, images, masks, images_left, seconds_per_image
SELECT x.extractor_id, x.kind, x.model_type, x.checkpoint, x.options,
       count(e.image_id) AS images,
       coalesce(sum(e.masks), 0) AS masks,
       CASE WHEN x.kind <> 'prompted' THEN (SELECT count(*) FROM images) - count(e.image_id) END AS images_left,
       avg(e.seconds) AS seconds_per_image
FROM extractors AS x
LEFT JOIN extractions AS e ON x.extractor_id = e.extractor_id
GROUP BY x.extractor_id, x.kind, x.model_type, x.checkpoint, x.options
ORDER BY x.extractor_id
