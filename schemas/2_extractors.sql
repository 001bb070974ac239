-- Grain:  one way of making masks: a model, its checkpoint and every option that changes the result.
-- Key:    extractor_id
-- Writer: grainstore extract, import
-- Reader: train, annotate; a head refuses masks of another extractor
CREATE TABLE extractors (
    extractor_id       TEXT   NOT NULL, -- first 128 bits of the SHA-256 of model_type, checkpoint_sha256 and options, hex
    model_type         TEXT   NOT NULL, -- 'vit_h', 'vit_l', 'vit_b', 'vit_t' as upstream names them; 'imported masks' or 'imported boxes' (grainstore import)
    checkpoint         TEXT   NOT NULL, -- file name of the checkpoint, for people
    checkpoint_sha256  TEXT   NOT NULL, -- 64 lower-case hex digits
    embedding_dim      INT    NOT NULL, -- numbers in masks.embedding: output tokens x token width, 4 x 256 = 1024
    options            TEXT   NOT NULL, -- JSON object, keys sorted: points_per_side, pred_iou_thresh, ... (segment-anything's names)
    grainstore_version TEXT   NOT NULL, -- version of the program that registered it
    created_at         TIMESTAMP(6) WITH TIME ZONE NOT NULL, -- UTC
    PRIMARY KEY (extractor_id)
);
