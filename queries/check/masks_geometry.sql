-- asks:    Which masks cannot be read, have another size than their image, or have a box or area that does not fit them?
-- params:  none
-- reads:   masks, images, extractors
-- grain:   one row per mask
-- columns: image_id, extractor_id, mask_index, area, readable
WITH boxes_given AS (
    -- Boxes of imported detections are kept as they were given.
    SELECT DISTINCT extractor_id FROM extractors WHERE kind = 'imported boxes'
)
SELECT m.image_id, m.extractor_id, m.mask_index, m.area, rle_is_valid(m.rle) AS readable
FROM masks AS m
JOIN images AS i ON m.image_id = i.image_id
LEFT JOIN boxes_given AS b ON m.extractor_id = b.extractor_id
WHERE m.rle['height'] <> i.height
   OR m.rle['width'] <> i.width
   OR CASE
          WHEN rle_is_valid(m.rle) THEN m.area <> rle_area(m.rle) OR b.extractor_id IS NULL AND m.bbox <> rle_bbox(m.rle)
          ELSE true
      END
