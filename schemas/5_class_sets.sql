-- Grain:  one class of one version of a class set. A version is written whole and never changed.
-- Key:    class_set, version, class_index
-- Writer: grainstore classes add; review; ingest coco and ingest voc (the data set's own categories, in its order)
-- Reader: train, annotate, eval, export
CREATE TABLE class_sets (
    class_set     TEXT   NOT NULL, -- name of the set
    version       INT    NOT NULL, -- 1, 2, ...; the highest is the one in use
    class_index   INT    NOT NULL, -- 0, 1, ...: declared order, and index of the head's output
    class         TEXT   NOT NULL, -- name of the class
    supercategory TEXT,            -- coarser word for it (COCO categories.supercategory)
    external_id   BIGINT,          -- the data set's own category id (COCO categories.id)
    labels        TEXT[] NOT NULL, -- the source labels that map to the class (labels.label, ground_truth.category)
    origin        TEXT   NOT NULL, -- 'file', 'labels', 'ground-truth', 'coco', 'voc', 'review': what the set was made from
    created_at    TIMESTAMP(6) WITH TIME ZONE NOT NULL, -- UTC
    search        TEXT[],          -- words that images of the class are searched with; null for its name
    PRIMARY KEY (class_set, version, class_index)
);
