-- Grain:  one label of an image as a whole; a multi-label image has several rows.
-- Key:    image_id, dataset, label
-- Writer: ingest, collect
-- Reader: class sets, train
CREATE TABLE labels (
    image_id    TEXT NOT NULL, -- images.image_id
    dataset     TEXT NOT NULL, -- name of the data set that the label comes from
    label       TEXT NOT NULL, -- the data set's own word; class sets map words to classes
    origin      TEXT NOT NULL, -- 'folder', 'csv', 'manifest', 'coco', 'voc': where the label was read
    ingested_at TIMESTAMP(6) WITH TIME ZONE NOT NULL, -- UTC
    PRIMARY KEY (image_id, dataset, label)
);
