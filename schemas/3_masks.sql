-- Grain:  one mask that an extractor found in an image.
-- Key:    extractor_id, image_id, mask_index
-- Writer: grainstore extract, import
-- Reader: train (embedding), annotate (embedding, rle), eval and export (rle)
CREATE TABLE masks (
    extractor_id    TEXT         NOT NULL, -- extractors.extractor_id
    image_id        TEXT         NOT NULL, -- images.image_id
    mask_index      INT          NOT NULL, -- 0, 1, ... in the order the extractor gave them
    rle             STRUCT<height INT, width INT, counts TEXT> NOT NULL, -- COCO RLE at the size of the original image
    bbox            DOUBLE[4]    NOT NULL, -- x, y, width, height in pixels of the original image (COCO XYWH)
    area            BIGINT       NOT NULL, -- foreground pixels
    predicted_iou   FLOAT        NOT NULL, -- SAM's own estimate of the mask's quality, about [0, 1]
    stability_score FLOAT        NOT NULL, -- IoU of the mask at two thresholds, [0, 1] (segment-anything, amg.py)
    point           DOUBLE[2]    NOT NULL, -- x, y of the prompt in pixels of the original image
    crop_box        DOUBLE[4]    NOT NULL, -- x, y, width, height of the crop the mask was made in; the whole image by default
    mask_output     TINYINT      NOT NULL, -- which of the decoder's masks: 0 single-mask token, 1..3 multimask tokens
    embedding       FLOAT16[1024] NOT NULL, -- the decoder's four output tokens x 256, flattened (GranSAM, section 3)
    PRIMARY KEY (extractor_id, image_id, mask_index)
);
