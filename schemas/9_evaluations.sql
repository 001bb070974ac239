-- Grain:  one figure of one evaluation; an evaluation run again is a new one.
-- Key:    evaluation_id, head_id, report, dataset, slice, class, metric
-- Writer: grainstore eval, compare; heads rm removes those of its head
-- Reader: report, compare, people
CREATE TABLE evaluations (
    evaluation_id TEXT   NOT NULL, -- one per run, hex
    report        TEXT   NOT NULL, -- name of the report in queries/eval
    head_id       TEXT   NOT NULL, -- heads.head_id
    policy_id     TEXT   NOT NULL, -- predictions.policy_id
    dataset       TEXT   NOT NULL, -- ground_truth.dataset it was held against
    slice         TEXT,            -- value of the slicing column; null = all images
    class         TEXT,            -- null = over all classes
    metric        TEXT   NOT NULL, -- 'miou', 'ap', 'ap50', ...
    value         DOUBLE,          -- null where undefined (absent class)
    ci_low        DOUBLE,          -- lower end of the confidence interval, where one was asked for
    ci_high       DOUBLE,          -- upper end
    policy        TEXT   NOT NULL, -- JSON object: background in or out, ignore rules, thresholds, query text
    store_version BIGINT NOT NULL, -- version of the store it was read at
    created_at    TIMESTAMP(6) WITH TIME ZONE NOT NULL, -- UTC
    PRIMARY KEY (evaluation_id, head_id, report, dataset, slice, class, metric)
);
