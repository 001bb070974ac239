-- asks:    Which classes do the categories of the ground truth make, one class per category?
-- params:  dataset ANNOTATED = NULL -- only annotations of this data set
-- reads:   ground_truth
-- grain:   one row per category
-- columns: class, external_id
SELECT category AS class, min(category_id) AS external_id
FROM ground_truth
WHERE category IS NOT NULL AND ($dataset IS NULL OR dataset = $dataset)
GROUP BY category
ORDER BY external_id, class
