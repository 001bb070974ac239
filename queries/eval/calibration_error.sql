-- asks:    How far are scores from the share of detections that are right? The expected calibration error over
--          ten bins.
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compare with annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
--          iou ONE_OF(mask|box) = mask   -- IoU of masks or of boxes
-- uses:    eval/calibration
-- reads:   calibration
-- grain:   one row
-- columns: class, metric, value
-- notes:   class (null), metric (ece), value
SELECT CAST(NULL AS TEXT) AS class,
       concat(CASE WHEN $iou = 'box' THEN 'box_' ELSE '' END, 'ece') AS metric,
       sum(detections * abs(mean_score - correct)) / sum(detections) AS value
FROM calibration
