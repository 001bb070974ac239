-- Grain:  one mask as an embedder sees it. A template: each embedder has a Lance dataset of its own,
--         vectors/EMBEDDER_ID.lance, whose vectors have as many numbers as embedders.dim says.
-- Key:    extractor_id, image_id, mask_index
-- Writer: grainstore embed
-- Reader: train, annotate, neighbours; in SQL the table vectors.NAME
CREATE TABLE vectors (
    extractor_id TEXT         NOT NULL, -- masks.extractor_id
    image_id     TEXT         NOT NULL, -- masks.image_id
    mask_index   INT          NOT NULL, -- masks.mask_index
    vector       FLOAT16[768] NOT NULL, -- embedders.dim numbers, as the model gives them: not normalised
    PRIMARY KEY (extractor_id, image_id, mask_index)
);
