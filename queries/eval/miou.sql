-- asks:    How well do the annotated pixels agree with the predicted ones, over all classes?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compare with annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
-- uses:    eval/pixel_counts
-- reads:   pixel_counts
-- grain:   one row per metric
-- columns: class, metric, value
-- notes:   class (null), metric (miou: mean IoU of the classes and the background; miou_classes: of the classes
--          alone; pixel_accuracy; mean_accuracy: mean recall; fw_iou: IoU weighted by annotated pixels; dice:
--          mean), value. Intersections and unions are of all images together; a class that is not annotated
--          anywhere is left out.
WITH summary AS (
    SELECT avg(iou) AS miou,
           avg(iou) FILTER (WHERE class_index >= 0) AS miou_classes,
           CAST(sum(found) AS DOUBLE) / nullif(sum(found + missed), 0) AS pixel_accuracy,
           avg(CAST(found AS DOUBLE) / nullif(found + missed, 0)) AS mean_accuracy,
           sum(iou * (found + missed)) / nullif(sum(found + missed), 0) AS fw_iou,
           avg(CASE WHEN iou IS NOT NULL THEN 2.0 * found / (2 * found + missed + claimed) END) AS dice
    FROM pixel_counts
), figures AS (
    SELECT unnest(make_array(
        named_struct('metric', 'miou', 'value', miou),
        named_struct('metric', 'miou_classes', 'value', miou_classes),
        named_struct('metric', 'pixel_accuracy', 'value', pixel_accuracy),
        named_struct('metric', 'mean_accuracy', 'value', mean_accuracy),
        named_struct('metric', 'fw_iou', 'value', fw_iou),
        named_struct('metric', 'dice', 'value', dice))) AS f
    FROM summary
)
SELECT CAST(NULL AS TEXT) AS class, f['metric'] AS metric, f['value'] AS value
FROM figures
