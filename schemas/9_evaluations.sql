-- Grain:  one metric of one evaluation; an evaluation run again is a new one.
-- Key:    evaluation_id, head_id, query, dataset, slice, class, metric
-- Writer: grainstore eval, compare; heads rm removes those of its head
-- Reader: report, compare, people
CREATE TABLE evaluations (
    evaluation_id TEXT   NOT NULL, -- one per run, hex
    query         TEXT   NOT NULL, -- name of the query in queries/eval
    head_id       TEXT   NOT NULL, -- heads.head_id
    policy_id     TEXT   NOT NULL, -- policies.policy_id
    dataset       TEXT   NOT NULL, -- ground_truth.dataset that predictions were compared with
    slice         TEXT,            -- value of the slicing column; null = all images
    class         TEXT,            -- null = over all classes
    metric        TEXT   NOT NULL, -- 'miou', 'ap', 'ap50', ...
    value         DOUBLE,          -- null where undefined (absent class)
    ci_low        DOUBLE,          -- lower end of the confidence interval, where one was computed
    ci_high       DOUBLE,          -- upper end
    request       TEXT   NOT NULL, -- JSON object: what was asked, every name resolved: head, dataset, split, classes, policy, condition, slice
    store_version BIGINT NOT NULL, -- version of the store it was read at
    created_at    TIMESTAMP(6) WITH TIME ZONE NOT NULL, -- UTC
    query_sha256  TEXT,            -- of the text of the query and of the queries it uses, 64 hex digits; null: written by format 1
    PRIMARY KEY (evaluation_id, head_id, query, dataset, slice, class, metric)
);
