-- Grain:  one mask that a person added: by points and a box, or by changing the pixels of another mask.
-- Key:    extractor_id, image_id, mask_index
-- Writer: review, in the commit that holds the mask
-- Reader: review
CREATE TABLE prompts (
    extractor_id        TEXT     NOT NULL, -- masks.extractor_id, of an extractor of kind 'prompted'
    image_id            TEXT     NOT NULL, -- masks.image_id
    mask_index          INT      NOT NULL, -- masks.mask_index
    foreground          DOUBLE[] NOT NULL, -- points on the object: x, y, x, y, ... in pixels of the original image
    background          DOUBLE[] NOT NULL, -- points outside of it, likewise
    bbox                DOUBLE[4],         -- box around it: x, y, width, height in pixels of the original image (COCO XYWH); null: none
    edited              BOOLEAN  NOT NULL, -- whether pixels were added or taken away by hand
    source_extractor_id TEXT,              -- masks.extractor_id of the mask that was changed; null: none
    source_mask_index   INT,               -- its masks.mask_index
    reviewer            TEXT,              -- who added it; null: nobody in particular
    seconds             DOUBLE,            -- time from the first prompt to the mask
    created_at          TIMESTAMP(6) WITH TIME ZONE NOT NULL, -- UTC
    PRIMARY KEY (extractor_id, image_id, mask_index)
);
