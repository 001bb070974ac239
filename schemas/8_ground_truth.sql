-- Grain:  one annotated object, crowd or ignored region of an image.
-- Key:    ground_truth_id
-- Writer: grainstore ingest coco, ingest voc
-- Reader: eval, export --ground-truth, import masks --ground-truth
CREATE TABLE ground_truth (
    ground_truth_id TEXT      NOT NULL, -- first 128 bits of the SHA-256 of the row's content, hex
    image_id        TEXT      NOT NULL, -- images.image_id
    dataset         TEXT      NOT NULL, -- name of the data set that annotated it
    external_id     BIGINT,             -- the data set's own annotation id (COCO annotations.id; VOC object index)
    category        TEXT,               -- the data set's own word; null for a void region
    category_id     BIGINT,             -- the data set's own category id (COCO categories.id; VOC class index)
    rle             STRUCT<height INT, width INT, counts TEXT>, -- COCO RLE at the original size; null for a box without a mask
    bbox            DOUBLE[4] NOT NULL, -- x, y, width, height in pixels, as annotated, or from the mask (COCO XYWH)
    area            DOUBLE    NOT NULL, -- as annotated (COCO's polygon area, not the pixel count), or pixels; >= 0
    iscrowd         BOOLEAN   NOT NULL, -- COCO iscrowd: matches any number of detections, never counts as missed
    is_ignored      BOOLEAN   NOT NULL, -- not an object: pixels left out of every metric (VOC's void, 255)
    segmentation    TEXT      NOT NULL, -- how it was annotated: 'polygon', 'rle', 'label_map', 'none'
    attributes      TEXT,               -- JSON object: what else the data set says about the annotation
    ingested_at     TIMESTAMP(6) WITH TIME ZONE NOT NULL, -- UTC
    PRIMARY KEY (ground_truth_id)
);
