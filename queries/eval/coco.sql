-- asks:    What are COCO's 12 metrics?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compare with annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
--          iou ONE_OF(mask|box) = mask   -- IoU of masks or of boxes
-- uses:    eval/average_precision
-- reads:   average_precision
-- grain:   one row per metric, in COCO's order
-- columns: class, metric, value
-- notes:   class (null), metric (ap, ap50, ap75, ap_small, ..., ar_1, ar_10, ar_100, ar_small, ...; for boxes
--          prefixed with 'box_'), value (null where there is no object to find, for which COCO says -1)
WITH summary AS (
    SELECT avg(ap) FILTER (WHERE area = 'all') AS ap,
           avg(ap) FILTER (WHERE area = 'all' AND iou = 0.5) AS ap50,
           avg(ap) FILTER (WHERE area = 'all' AND iou = 0.75) AS ap75,
           avg(ap) FILTER (WHERE area = 'small') AS ap_small,
           avg(ap) FILTER (WHERE area = 'medium') AS ap_medium,
           avg(ap) FILTER (WHERE area = 'large') AS ap_large,
           avg(recall_1) FILTER (WHERE area = 'all') AS ar_1,
           avg(recall_10) FILTER (WHERE area = 'all') AS ar_10,
           avg(recall_100) FILTER (WHERE area = 'all') AS ar_100,
           avg(recall_100) FILTER (WHERE area = 'small') AS ar_small,
           avg(recall_100) FILTER (WHERE area = 'medium') AS ar_medium,
           avg(recall_100) FILTER (WHERE area = 'large') AS ar_large
    FROM average_precision
), figures AS (
    SELECT unnest(make_array(
        named_struct('metric', 'ap', 'value', ap),
        named_struct('metric', 'ap50', 'value', ap50),
        named_struct('metric', 'ap75', 'value', ap75),
        named_struct('metric', 'ap_small', 'value', ap_small),
        named_struct('metric', 'ap_medium', 'value', ap_medium),
        named_struct('metric', 'ap_large', 'value', ap_large),
        named_struct('metric', 'ar_1', 'value', ar_1),
        named_struct('metric', 'ar_10', 'value', ar_10),
        named_struct('metric', 'ar_100', 'value', ar_100),
        named_struct('metric', 'ar_small', 'value', ar_small),
        named_struct('metric', 'ar_medium', 'value', ar_medium),
        named_struct('metric', 'ar_large', 'value', ar_large))) AS f
    FROM summary
)
SELECT CAST(NULL AS TEXT) AS class,
       concat(CASE WHEN $iou = 'box' THEN 'box_' ELSE '' END, f['metric']) AS metric,
       f['value'] AS value
FROM figures
