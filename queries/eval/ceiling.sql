-- asks:    How many objects do an extractor's masks cover, and how well could any head find them?
-- params:  head HEAD                       -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL        -- only annotations of this data set
--          split SPLIT = NULL              -- only images of this split
--          classes CLASS_SET(head) = own   -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest    -- first digits of the policy's id; newest: the one that was used last
--          extractor EXTRACTOR = NULL      -- first digits of the id of the extractor of the masks; NULL: the head's own
--          iou ONE_OF(mask|box) = mask     -- IoU of masks or of boxes
-- uses:    eval/best_masks, eval/average_precision
-- reads:   best_masks, average_precision
-- grain:   one row per class and area range with an object, and one per area range over all classes
-- columns: class, area, objects, uncovered, mean_iou, ar_100, ap50
-- notes:   class (null: all), area (all, small, medium, large), objects, uncovered (objects with which no mask has an IoU of
--          0.5), mean_iou (of objects with their best masks), ar_100, ap50. The last two are those of the detections that
--          average_precision is of: 'grainstore eval --ceiling' puts the rows of eval/ceiling_detections there, and 'grainstore
--          query' those of the head
WITH ranges AS (
    SELECT * FROM (VALUES ('all', 0.0, 1e10), ('small', 0.0, 1024.0), ('medium', 1024.0, 9216.0), ('large', 9216.0, 1e10))
        AS a (area, min, max)
), fits AS (
    SELECT b.class_index, b.class, r.area, count(*) AS objects,
           count(*) FILTER (WHERE b.iou < 0.5) AS uncovered, sum(b.iou) AS iou
    FROM best_masks b
    JOIN ranges r ON b.object_area >= r.min AND b.object_area <= r.max
    GROUP BY b.class_index, b.class, r.area
), found AS (
    SELECT class_index, area, avg(recall_100) AS ar_100, avg(ap) FILTER (WHERE iou = 0.5) AS ap50
    FROM average_precision
    GROUP BY class_index, area
), by_class AS (
    SELECT f.class_index, f.class, f.area, f.objects, f.uncovered, f.iou, a.ar_100, a.ap50
    FROM fits f
    LEFT JOIN found a ON f.class_index = a.class_index AND f.area = a.area
)
SELECT class, area, objects, uncovered, mean_iou, ar_100, ap50
FROM (
    SELECT -1 AS class_index, CAST(NULL AS TEXT) AS class, area, sum(objects) AS objects, sum(uncovered) AS uncovered,
           sum(iou) / sum(objects) AS mean_iou, avg(ar_100) AS ar_100, avg(ap50) AS ap50
    FROM by_class
    GROUP BY area
    UNION ALL
    SELECT class_index, class, area, objects, uncovered, iou / objects, ar_100, ap50
    FROM by_class
)
ORDER BY class_index, CASE area WHEN 'all' THEN 0 WHEN 'small' THEN 1 WHEN 'medium' THEN 2 ELSE 3 END
