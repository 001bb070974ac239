-- Grain:  one way of making masks: a model with its checkpoint and every option that changes the result, or an import.
-- Key:    extractor_id
-- Writer: grainstore extract, import, review
-- Reader: train, embed, annotate; a head refuses masks of another extractor
CREATE TABLE extractors (
    extractor_id       TEXT   NOT NULL, -- first 128 bits of the SHA-256 of model_type (for an import: kind), checkpoint_sha256 and options, hex
    kind               TEXT   NOT NULL, -- 'sam', 'sam2', 'sam3', 'prompted' (by points that people click), 'imported masks', 'imported boxes'
    model_type         TEXT,            -- 'vit_h', 'vit_l', 'vit_b', 'vit_t' as upstream names them; 'sam2_hiera_tiny', 'hq_vit_b', 'sam3', ...; 'custom': other sizes; null: imported
    checkpoint         TEXT   NOT NULL, -- name of the checkpoint or of what was imported: a file, a directory, or for ground truth the data set; for people
    checkpoint_sha256  TEXT   NOT NULL, -- SHA-256 of that file, 64 lower-case hex digits; of several files: of the sorted lines 'sha256', of an imported directory 'sha256  name'; of ground truth: of its sorted ids, one a line
    embedding_dim      INT,             -- numbers in masks.embedding: output tokens x token width, 4 x 256 = 1024; null: imported, without embeddings
    embedding_space    TEXT,            -- what makes the embeddings, whatever the grid and filters: first 128 bits of the SHA-256 of checkpoint_sha256, precision and embedding_dim, hex; null: no embeddings
    options            TEXT   NOT NULL, -- JSON object, keys sorted: points_per_side, pred_iou_thresh, ... (segment-anything's names)
    grainstore_version TEXT   NOT NULL, -- version of the program that registered it
    created_at         TIMESTAMP(6) WITH TIME ZONE NOT NULL, -- UTC
    PRIMARY KEY (extractor_id)
);
