-- Grain:  one image that an embedder is done with: its masks of one extractor, or the image as a whole.
-- Key:    embedder_id, extractor_id, image_id
-- Writer: grainstore embed; extract --vectors; in the commit that holds the vectors
-- Reader: grainstore embed (what is left to do)
CREATE TABLE embeddings (
    embedder_id  TEXT   NOT NULL, -- embedders.embedder_id
    extractor_id TEXT,            -- extractors.extractor_id of the masks; null: the image as a whole
    image_id     TEXT   NOT NULL, -- images.image_id
    vectors      INT    NOT NULL, -- rows of vectors it added, >= 0
    seconds      DOUBLE NOT NULL, -- wall time in the model and its pooling; 0 for vectors that extract keeps
    embedded_at  TIMESTAMP(6) WITH TIME ZONE NOT NULL, -- UTC
    PRIMARY KEY (embedder_id, extractor_id, image_id)
);
