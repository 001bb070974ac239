-- Grain:  one statement about one mask, by a person or derived from one. The newest per mask and reviewer counts.
-- Key:    mask_label_id
-- Writer: label, labels undo, labels confirm, propagate
-- Reader: labels list, train, propagate, queries of review
CREATE TABLE mask_labels (
    mask_label_id TEXT   NOT NULL, -- first 128 bits of the SHA-256 of all columns below, hex
    extractor_id  TEXT   NOT NULL, -- masks.extractor_id
    image_id      TEXT   NOT NULL, -- masks.image_id
    mask_index    INT    NOT NULL, -- masks.mask_index
    label         TEXT,            -- a source word, mapped by class sets as labels.label is; null: none of any class
    verdict       TEXT   NOT NULL, -- 'is', 'is not' (the label), 'bad mask' (of no use, whatever the class), 'undone' (nothing)
    origin        TEXT   NOT NULL, -- 'review', 'propagated', 'ground-truth', 'import'
    proof         TEXT,            -- mask_labels.mask_label_id it was propagated from, or that was confirmed
    score         FLOAT,           -- cosine similarity with the proof's mask; null: not propagated
    margin        FLOAT,           -- lead of score over the most similar mask of another label; null: not propagated
    reviewer      TEXT,            -- who said so; null: nobody in person
    queue         TEXT,            -- the review queue that showed the mask
    head_id       TEXT,            -- heads.head_id whose prediction was shown
    seconds       DOUBLE,          -- time from showing the mask to the answer
    created_at    TIMESTAMP(6) WITH TIME ZONE NOT NULL, -- UTC
    PRIMARY KEY (mask_label_id)
);
