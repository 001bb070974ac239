-- asks:    Which data sets are there?
-- params:  none
-- reads:   images, labels, ground_truth
-- grain:   one row per data set of an image, a label or an annotation
-- columns: name
SELECT dataset AS name FROM images
UNION
SELECT dataset AS name FROM labels
UNION
SELECT dataset AS name FROM ground_truth
