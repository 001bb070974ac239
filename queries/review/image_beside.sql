-- asks:    Which images come before and after an image?
-- params:  image IMAGE -- its file name, or the first digits of its id
-- reads:   images
-- grain:   one row
-- columns: before, after
-- notes:   before and after (ids, in the order of review/image_list; null at either end)
SELECT before, after
FROM (
    SELECT image_id,
           lag(image_id) OVER (ORDER BY dataset, file_name, image_id) AS before,
           lead(image_id) OVER (ORDER BY dataset, file_name, image_id) AS after
    FROM images
)
WHERE image_id = $image
