-- Grain:  the vector of one mask. A template: each embedder has its own Lance dataset,
--         vectors/EMBEDDER_ID.lance, whose vectors have embedders.dim numbers.
-- Key:    extractor_id, image_id, mask_index
-- Writer: grainstore embed; extract --vectors
-- Reader: train, annotate, neighbours; in SQL the table vectors.NAME
CREATE TABLE vectors (
    extractor_id TEXT         NOT NULL, -- masks.extractor_id
    image_id     TEXT         NOT NULL, -- masks.image_id
    mask_index   INT          NOT NULL, -- masks.mask_index
    vector       FLOAT16[768] NOT NULL, -- embedders.dim numbers as the model gives them, not normalised
    PRIMARY KEY (extractor_id, image_id, mask_index)
);
