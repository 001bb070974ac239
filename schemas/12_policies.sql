-- Grain:  one policy: what makes a mask that a head predicts part of the annotation.
-- Key:    policy_id
-- Writer: grainstore annotate, rethreshold, import, in the commit that first uses it
-- Reader: eval, export, people
CREATE TABLE policies (
    policy_id  TEXT NOT NULL, -- first 128 bits of the SHA-256 of policy, hex
    policy     TEXT NOT NULL, -- JSON object: score_threshold, nms_iou, nms, max_per_image, min_predicted_iou, min_stability_score; for imported predictions {"imported": file}
    created_at TIMESTAMP(6) WITH TIME ZONE NOT NULL, -- UTC
    PRIMARY KEY (policy_id)
);
