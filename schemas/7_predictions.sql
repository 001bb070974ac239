-- Grain:  one mask with the class that a head predicts, and what a policy (score threshold, NMS) decided about it.
-- Key:    head_id, policy_id, image_id, mask_index
-- Writer: grainstore annotate, rethreshold, import
-- Reader: eval, export, review queries
CREATE TABLE predictions (
    head_id       TEXT    NOT NULL, -- heads.head_id
    policy_id     TEXT    NOT NULL, -- policies.policy_id
    image_id      TEXT    NOT NULL, -- images.image_id
    extractor_id  TEXT    NOT NULL, -- masks.extractor_id
    mask_index    INT     NOT NULL, -- masks.mask_index
    class_index   INT     NOT NULL, -- class_sets.class_index of the best class
    class         TEXT    NOT NULL, -- class_sets.class
    score         DOUBLE  NOT NULL, -- softmax probability of the class, [0, 1]; for imported predictions, as given
    entropy       FLOAT,            -- of the softmax over the classes, nats, [0, ln C]; null: imported predictions
    kept          BOOLEAN NOT NULL, -- true: part of the annotation
    dropped       TEXT,             -- why not kept: 'score', 'quality', 'image_gate', 'suppressed', 'max_per_image'
    suppressed_by INT,              -- mask_index of the mask that suppressed it
    created_at    TIMESTAMP(6) WITH TIME ZONE NOT NULL, -- UTC
    PRIMARY KEY (head_id, policy_id, image_id, mask_index)
);
