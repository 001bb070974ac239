-- Grain:  one photo, whatever its name: two files with the same bytes are one image.
-- Key:    image_id
-- Writer: grainstore ingest, collect; store relocate replaces file_name and root of photos that moved
-- Reader: everything
CREATE TABLE images (
    image_id    TEXT      NOT NULL, -- first 128 bits of the file's SHA-256, 32 lower-case hex digits
    file_name   TEXT      NOT NULL, -- path relative to `root`, '/' between parts; COCO's images.file_name
    root        TEXT      NOT NULL, -- absolute directory or URI the file was found under
    width       INT       NOT NULL, -- pixels, >= 1, EXIF orientation applied
    height      INT       NOT NULL, -- pixels, >= 1, EXIF orientation applied; width * height < 2^32
    orientation TINYINT   NOT NULL, -- EXIF orientation of the stored pixels, 1..8; 1 = upright
    format      TEXT      NOT NULL, -- file format by content: 'jpeg', 'png', 'webp', 'bmp', 'tiff', 'gif', 'pnm'
    file_bytes  BIGINT    NOT NULL, -- size of the file, bytes
    source      TEXT      NOT NULL, -- 'web' or 'synthetic' (images to train heads on), 'target' (images to annotate)
    split       TEXT,               -- 'train', 'val', ... as given at ingest
    dataset     TEXT      NOT NULL, -- name of the data set that brought the image first
    external_id BIGINT,             -- the data set's own image id (COCO images.id), reused by exports
    attributes  TEXT,               -- JSON object: what else the data set says about the image (license, urls, date)
    ingested_at TIMESTAMP(6) WITH TIME ZONE NOT NULL, -- UTC
    PRIMARY KEY (image_id)
);
