-- asks:    Which images have values outside their ranges?
-- params:  none
-- reads:   images
-- grain:   one row per image
-- columns: image_id, file_name, width, height, orientation, source
SELECT image_id, file_name, width, height, orientation, source
FROM images
WHERE width < 1
   OR height < 1
   OR CAST(width AS BIGINT) * height >= 4294967296
   OR orientation NOT BETWEEN 1 AND 8
   OR source NOT IN ('web', 'synthetic', 'target')
   OR file_bytes < 1
