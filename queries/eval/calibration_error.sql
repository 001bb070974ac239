-- asks:    How far are scores from the share of detections that are right? The expected calibration error over
--          ten bins.
-- params:  head TEXT           -- name of the head, or its id
--          dataset TEXT = NULL -- held against annotations of this data set
--          split TEXT = NULL   -- images of this split only
--          classes TEXT = NULL -- judge in the classes of this set, not in the head's own
--          policy TEXT = NULL  -- id of the policy; NULL: the one annotated with last
--          iou TEXT = mask     -- overlap of masks ('mask') or of boxes ('box')
-- uses:    eval/calibration
-- reads:   calibration
-- grain:   one row
-- columns: class, metric, value
-- notes:   class (null), metric (ece), value
SELECT CAST(NULL AS TEXT) AS class,
       concat(CASE WHEN $iou = 'box' THEN 'box_' ELSE '' END, 'ece') AS metric,
       sum(detections * abs(mean_score - correct)) / sum(detections) AS value
FROM calibration
