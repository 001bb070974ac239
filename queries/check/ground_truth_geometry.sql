-- asks:    Which annotations have a mask that cannot be read or has another size than the image, or a box or area out of range?
-- params:  none
-- reads:   ground_truth, images
-- grain:   one row per annotation
-- columns: ground_truth_id, image_id, mask_height, mask_width, height, width, area
SELECT g.ground_truth_id, g.image_id,
       g.rle['height'] AS mask_height, g.rle['width'] AS mask_width, i.height, i.width, g.area
FROM ground_truth AS g
JOIN images AS i ON g.image_id = i.image_id
WHERE g.rle['height'] <> i.height
   OR g.rle['width'] <> i.width
   OR g.rle IS NOT NULL AND rle_is_valid(g.rle) IS NOT TRUE
   OR NOT g.area >= 0
   OR isnan(g.area)
   OR isnan(g.bbox[1] + g.bbox[2] + g.bbox[3] + g.bbox[4])
   OR NOT g.bbox[3] >= 0
   OR NOT g.bbox[4] >= 0
