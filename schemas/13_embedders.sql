-- Grain:  one way of making vectors of masks: a model, its checkpoint and every option that changes them.
-- Key:    embedder_id
-- Writer: grainstore embed; extract --vectors
-- Reader: train, annotate, neighbours; a head names the embedders it reads
CREATE TABLE embedders (
    embedder_id        TEXT   NOT NULL, -- first 128 bits of the SHA-256 of model_type, checkpoint_sha256 and options, hex
    embedder           TEXT   NOT NULL, -- name; its vectors are the table vectors.NAME in SQL
    model_type         TEXT   NOT NULL, -- 'dinov2_vits14_reg', 'clip_vit_b_32', 'efficientnet_lite0', 'sam_neck', 'sam_token', ...; 'custom': other sizes
    checkpoint         TEXT   NOT NULL, -- name of the checkpoint, a file or a folder; for people
    checkpoint_sha256  TEXT   NOT NULL, -- SHA-256 of its file, 64 lower-case hex digits; of several files: of the sorted lines 'sha256'
    dim                INT    NOT NULL, -- numbers per vector
    options            TEXT   NOT NULL, -- JSON object, keys sorted: pool, fit, background, context, image_size, precision, ...
    grainstore_version TEXT   NOT NULL, -- version of the program that registered it
    created_at         TIMESTAMP(6) WITH TIME ZONE NOT NULL, -- UTC
    PRIMARY KEY (embedder_id)
);
