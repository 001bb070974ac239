-- asks:    What are COCO's metrics class by class?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compare with annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
--          iou ONE_OF(mask|box) = mask   -- IoU of masks or of boxes
-- uses:    eval/average_precision
-- reads:   average_precision
-- grain:   one row per metric of each class with objects
-- columns: class, metric, value
-- notes:   class, metric (ap, ap50, ap75, ap_small, ap_medium, ap_large, ar_100; for boxes prefixed with
--          'box_'), value
WITH summary AS (
    SELECT class_index, class,
           avg(ap) FILTER (WHERE area = 'all') AS ap,
           avg(ap) FILTER (WHERE area = 'all' AND iou = 0.5) AS ap50,
           avg(ap) FILTER (WHERE area = 'all' AND iou = 0.75) AS ap75,
           avg(ap) FILTER (WHERE area = 'small') AS ap_small,
           avg(ap) FILTER (WHERE area = 'medium') AS ap_medium,
           avg(ap) FILTER (WHERE area = 'large') AS ap_large,
           avg(recall_100) FILTER (WHERE area = 'all') AS ar_100
    FROM average_precision
    GROUP BY class_index, class
), figures AS (
    SELECT class_index, class, unnest(make_array(
        named_struct('place', 1, 'metric', 'ap', 'value', ap),
        named_struct('place', 2, 'metric', 'ap50', 'value', ap50),
        named_struct('place', 3, 'metric', 'ap75', 'value', ap75),
        named_struct('place', 4, 'metric', 'ap_small', 'value', ap_small),
        named_struct('place', 5, 'metric', 'ap_medium', 'value', ap_medium),
        named_struct('place', 6, 'metric', 'ap_large', 'value', ap_large),
        named_struct('place', 7, 'metric', 'ar_100', 'value', ar_100))) AS f
    FROM summary
)
SELECT class,
       concat(CASE WHEN $iou = 'box' THEN 'box_' ELSE '' END, f['metric']) AS metric,
       f['value'] AS value
FROM figures
ORDER BY class_index, f['place']
