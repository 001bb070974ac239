-- asks:    What are COCO's 12 figures?
-- params:  head HEAD                     -- name of the head, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compared with annotations of this data set
--          split SPLIT = NULL            -- images of this split only
--          classes CLASS_SET(head) = own -- evaluate in the classes of this set: NAME, its newest version, or NAME@VERSION; own: the head's
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
--          iou ONE_OF(mask|box) = mask   -- overlap of masks or of boxes
-- uses:    eval/average_precision
-- reads:   average_precision
-- grain:   one row per figure, as COCO prints them
-- columns: class, metric, value
-- notes:   class (null), metric (ap, ap50, ap75, ap_small, ..., ar_1, ar_10, ar_100, ar_small, ...; with boxes
--          'box_' before them), value (null where there is no object to find: COCO's -1)
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
