-- Grain:  the features of one image under a SAM image encoder, kept so that further prompts run only the decoder.
-- Key:    extractor_id, image_id
-- Writer: grainstore extract --keep-features
-- Reader: review (prompts)
CREATE TABLE image_features (
    extractor_id TEXT      NOT NULL, -- extractors.extractor_id
    image_id     TEXT      NOT NULL, -- images.image_id
    channels     INT       NOT NULL, -- 256 for Segment Anything; 1024 for SAM 2 and 768 for HQ-SAM, with what else their decoders read
    height       INT       NOT NULL, -- cells, 64 at 1024 pixels
    width        INT       NOT NULL, -- cells, 64 at 1024 pixels
    features     FLOAT16[] NOT NULL, -- channels x height x width numbers, row-major
    kept_at      TIMESTAMP(6) WITH TIME ZONE NOT NULL, -- UTC
    PRIMARY KEY (extractor_id, image_id)
);
