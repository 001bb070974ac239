-- Grain:  the vector of one image. A template, as vectors.sql: image_vectors/EMBEDDER_ID.lance.
-- Key:    image_id
-- Writer: grainstore embed
-- Reader: neighbours; in SQL the table image_vectors.NAME
CREATE TABLE image_vectors (
    image_id TEXT         NOT NULL, -- images.image_id
    vector   FLOAT16[768] NOT NULL, -- embedders.dim numbers as the model gives them, not normalised
    PRIMARY KEY (image_id)
);
