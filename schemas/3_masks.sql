-- Grain:  one mask that an extractor found in an image.
-- Key:    extractor_id, image_id, mask_index
-- Writer: grainstore extract, import, review
-- Reader: train (embedding), annotate (embedding, rle), eval and export (rle)
CREATE TABLE masks (
    extractor_id    TEXT         NOT NULL, -- extractors.extractor_id
    image_id        TEXT         NOT NULL, -- images.image_id
    mask_index      INT          NOT NULL, -- 0, 1, ... in the order the extractor gave them; -1, -2, ... for masks that people added
    rle             STRUCT<height INT, width INT, counts TEXT> NOT NULL, -- COCO RLE at the size of the original image
    bbox            DOUBLE[4]    NOT NULL, -- x, y, width, height in pixels of the original image (COCO XYWH); for an imported detection, as given
    area            BIGINT       NOT NULL, -- foreground pixels
    predicted_iou   FLOAT,                 -- SAM's own estimate of the mask's quality, about [0, 1]; null: not given by an import
    stability_score FLOAT,                 -- IoU of the mask at two thresholds, [0, 1] (segment-anything, amg.py); null: not given by an import
    point           DOUBLE[2],             -- x, y of the prompt in pixels of the original image; null: not given by an import, or several prompts
    crop_box        DOUBLE[4]    NOT NULL, -- x, y, width, height of the crop the mask was made in; the whole image by default, and if an import gives none; with tiles, the tile of the greatest part
    mask_output     TINYINT,               -- which of the decoder's masks: 0 single-mask token, 1..3 multimask tokens; null: imported
    embedding       FLOAT16[1024],         -- the decoder's four output tokens x 256, flattened (GranSAM, section 3); null: imported
    object_score    FLOAT,                 -- SAM 2's score that there is an object, logit; null: a model without it
    PRIMARY KEY (extractor_id, image_id, mask_index)
);
