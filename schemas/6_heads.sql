-- Grain:  one trained head. Heads are small: the weights stand in the row.
-- Key:    head_id
-- Writer: grainstore train, import, heads import, heads rename, heads rm
-- Reader: annotate, heads list|show|export|plot
CREATE TABLE heads (
    head_id            TEXT   NOT NULL, -- first 128 bits of the SHA-256 of weights and lineage, hex
    head               TEXT   NOT NULL, -- name; the newest row of a name is the one in use
    extractor_id       TEXT   NOT NULL, -- extractors.extractor_id: the only masks it can judge
    class_set          TEXT   NOT NULL, -- class_sets.class_set
    class_set_version  INT    NOT NULL, -- class_sets.version
    spec               TEXT   NOT NULL, -- JSON object: layer widths, dropout, loss, every training option
    weights            BYTEA  NOT NULL, -- safetensors
    query              TEXT   NOT NULL, -- the SELECT it was trained on
    store_version      BIGINT NOT NULL, -- version of the store the SELECT was read at; -1: of another store
    seed               BIGINT NOT NULL, -- random seed
    parent_head_id     TEXT,            -- heads.head_id it was trained on from
    teacher_head_id    TEXT,            -- heads.head_id of the frozen teacher (uncertainty distillation)
    curves             TEXT   NOT NULL, -- JSON array, one object per epoch: loss, validation figures, seconds
    images_read        BIGINT NOT NULL, -- bags in the training set
    rows_read          BIGINT NOT NULL, -- masks in the training set
    seconds            DOUBLE NOT NULL, -- wall time of the training
    device             TEXT   NOT NULL, -- 'cpu', 'cuda:0', ...
    grainstore_version TEXT   NOT NULL, -- version of the program
    created_at         TIMESTAMP(6) WITH TIME ZONE NOT NULL, -- UTC
    PRIMARY KEY (head_id)
);
