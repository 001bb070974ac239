-- Grain:  one image that an extractor is done with, even if every mask was filtered out.
-- Key:    extractor_id, image_id
-- Writer: grainstore extract, import, review, in the commit that holds the image's masks
-- Reader: grainstore extract (what is left to do)
CREATE TABLE extractions (
    extractor_id TEXT   NOT NULL, -- extractors.extractor_id
    image_id     TEXT   NOT NULL, -- images.image_id
    masks        INT    NOT NULL, -- rows of masks it added, >= 0
    seconds      DOUBLE NOT NULL, -- wall time in the model and its post-processing
    extracted_at TIMESTAMP(6) WITH TIME ZONE NOT NULL, -- UTC
    PRIMARY KEY (extractor_id, image_id)
);
