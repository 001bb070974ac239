-- asks:    Which data sets are there?
-- params:  none
-- reads:   images, labels, ground_truth, failures
-- grain:   one row per data set of an image, a label, an annotation or a failure
-- columns: name
SELECT dataset AS name FROM images
UNION
SELECT dataset AS name FROM labels
UNION
SELECT dataset AS name FROM ground_truth
UNION
SELECT dataset AS name FROM failures WHERE dataset IS NOT NULL
