-- asks:    Which images are there, page by page?
-- params:  name TEXT = NULL  -- only images whose file names hold this
--          offset BIGINT = 0 -- images to leave out, from the first
--          count BIGINT = 60 -- maximum number of images
-- reads:   images
-- grain:   one row per image
-- columns: image_id, file_name, dataset, split, width, height
SELECT image_id, file_name, dataset, split, width, height
FROM images
WHERE $name IS NULL OR strpos(lower(file_name), lower($name)) > 0
ORDER BY dataset, file_name, image_id
LIMIT $count OFFSET $offset
