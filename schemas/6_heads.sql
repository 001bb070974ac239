-- Grain:  one trained head, one made from words, or one set of imported predictions. Heads are small: the weights are in the row.
-- Key:    head_id
-- Writer: grainstore train, heads zero-shot, import, heads import, heads rename, heads rm
-- Reader: annotate, heads list|show|export|plot
CREATE TABLE heads (
    head_id            TEXT   NOT NULL, -- first 128 bits of the SHA-256 of weights and lineage, hex
    head               TEXT   NOT NULL, -- name; the newest row of a name is the one in use
    extractor_id       TEXT   NOT NULL, -- extractors.extractor_id: the only masks it can predict
    class_set          TEXT   NOT NULL, -- class_sets.class_set
    class_set_version  INT    NOT NULL, -- class_sets.version
    spec               TEXT   NOT NULL, -- JSON object: layer widths, dropout, loss, every training option
    inputs             TEXT   NOT NULL, -- JSON array of the vectors it reads, in order: 'tokens' (masks.embedding), 'shape', an embedders.embedder_id
    normalise          TEXT   NOT NULL, -- JSON array beside inputs: 'none', 'l2' (each vector divided by its length) or 'standard' (less the training set's mean, divided by one scale; both are in weights)
    weights            BYTEA,           -- safetensors; null: imported predictions
    query              TEXT   NOT NULL, -- the SELECT it was trained on; from words, a JSON object of the texts; for imported predictions, the file
    store_version      BIGINT,          -- version of the store the SELECT was read at; null: trained in another store
    seed               BIGINT,          -- random seed; null: imported predictions, or from words
    parent_head_id     TEXT,            -- heads.head_id that its training started from
    teacher_head_id    TEXT,            -- heads.head_id of its frozen teacher (uncertainty distillation)
    curves             TEXT   NOT NULL, -- JSON array, one object per epoch: loss, validation metrics, seconds
    images_read        BIGINT NOT NULL, -- bags in the training set
    rows_read          BIGINT NOT NULL, -- masks in the training set
    seconds            DOUBLE NOT NULL, -- wall time of the training
    device             TEXT,            -- 'cpu', 'cuda:0', ...; null: imported predictions
    grainstore_version TEXT   NOT NULL, -- version of the program
    created_at         TIMESTAMP(6) WITH TIME ZONE NOT NULL, -- UTC
    PRIMARY KEY (head_id)
);
