-- asks:    Is a score the share of detections that are right?
-- params:  head TEXT           -- name of the head, or its id
--          dataset TEXT = NULL -- held against annotations of this data set
--          split TEXT = NULL   -- images of this split only
--          classes TEXT = NULL -- judge in the classes of this set, not in the head's own
--          policy TEXT = NULL  -- id of the policy; NULL: the one annotated with last
--          iou TEXT = mask     -- overlap of masks ('mask') or of boxes ('box')
-- uses:    eval/matches
-- reads:   matches
-- grain:   one row per tenth of the scores that has detections
-- columns: bin, detections, mean_score, correct
-- notes:   bin (from 0: scores up to 0.1), detections, mean_score, correct (share that found an object at IoU
--          0.5)
SELECT least(CAST(floor(score * 10) AS BIGINT), 9) AS bin,
       count(*) AS detections,
       avg(score) AS mean_score,
       avg(CAST(matched & 1 AS DOUBLE)) AS correct
FROM matches
WHERE area = 'all' AND (ignored & 1) = 0
GROUP BY least(CAST(floor(score * 10) AS BIGINT), 9)
ORDER BY bin
