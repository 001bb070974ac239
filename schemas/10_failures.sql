-- Grain:  one item (a file, an annotation) that could not be used, and why. An item found again is not recorded again.
-- Key:    failure_id
-- Writer: ingest, extract, embed, import, collect
-- Reader: people (grainstore query failures)
CREATE TABLE failures (
    failure_id  TEXT NOT NULL, -- first 128 bits of the SHA-256 of stage, data set, item and reason, hex
    stage       TEXT NOT NULL, -- 'ingest', 'extract', 'embed', 'import', 'collect'
    dataset     TEXT,          -- data set being read, if one was
    item        TEXT NOT NULL, -- the file, row or annotation, as a person would look it up
    image_id    TEXT,          -- images.image_id, where the image itself is in the store
    reason      TEXT NOT NULL, -- what is wrong with it
    failed_at   TIMESTAMP(6) WITH TIME ZONE NOT NULL, -- UTC, the first time
    PRIMARY KEY (failure_id)
);
