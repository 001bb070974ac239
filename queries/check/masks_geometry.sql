-- asks:    Which masks have another size than their image, or a box or area that is not their mask's?
-- params:  none
-- reads:   masks, images
-- grain:   one row per mask
-- columns: image_id, extractor_id, mask_index, area, mask_area
SELECT m.image_id, m.extractor_id, m.mask_index, m.area, rle_area(m.rle) AS mask_area
FROM masks AS m
JOIN images AS i ON m.image_id = i.image_id
WHERE m.rle['height'] <> i.height
   OR m.rle['width'] <> i.width
   OR m.area <> rle_area(m.rle)
   OR m.bbox <> rle_bbox(m.rle)
