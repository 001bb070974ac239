-- asks:    Is a score the share of detections that are right?
-- params:  head HEAD                     -- the head's name, or the first digits of its id
--          dataset ANNOTATED = NULL      -- compare with annotations of this data set
--          split SPLIT = NULL            -- only images of this split
--          classes CLASS_SET(head) = own -- class set to evaluate in: NAME (its newest version) or NAME@VERSION; own: the head's own
--          policy POLICY(head) = newest  -- first digits of the policy's id; newest: the one that was used last
--          iou ONE_OF(mask|box) = mask   -- IoU of masks or of boxes
-- uses:    eval/matches
-- reads:   matches
-- grain:   one row per tenth of the scores that has detections
-- columns: bin, detections, mean_score, correct
-- notes:   bin (from 0: scores up to 0.1), detections, mean_score, correct (share that matches an object at IoU
--          0.5)
SELECT least(CAST(floor(score * 10) AS BIGINT), 9) AS bin,
       count(*) AS detections,
       avg(score) AS mean_score,
       avg(CAST(matched & 1 AS DOUBLE)) AS correct
FROM matches
WHERE area = 'all' AND (ignored & 1) = 0
GROUP BY least(CAST(floor(score * 10) AS BIGINT), 9)
ORDER BY bin
