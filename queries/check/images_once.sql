-- asks:    Which keys of images are in more than one row?
-- params:  none
-- reads:   images
-- grain:   one row per repeated key
-- columns: image_id, rows
SELECT image_id, count(*) AS rows
FROM images
GROUP BY image_id
HAVING count(*) > 1
