//! The counts of an annotation.

use serde::{Deserialize, Serialize};

use super::decider::Verdict;
use crate::ids::{HeadId, PolicyId};

/// Result of an annotation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AnnotateSummary {
    /// Name of the head.
    pub head: String,
    /// Id of the head.
    pub head_id: Option<HeadId>,
    /// Id of the policy.
    pub policy_id: Option<PolicyId>,
    /// Images whose predictions were added.
    pub images: u64,
    /// Images that already had predictions.
    pub done: u64,
    /// Images whose masks lack vectors that the head reads: their embedders have not done them.
    pub without_vectors: u64,
    /// Predictions added, one per mask.
    pub masks: u64,
    /// Predictions among these that are part of the annotation.
    pub kept: u64,
    /// Predictions whose score is below the threshold.
    pub below_threshold: u64,
    /// Predictions whose mask's predicted IoU or stability score is too low.
    pub low_quality: u64,
    /// Predictions of classes that are taken not to be on their image.
    pub not_on_image: u64,
    /// Predictions that a better one suppressed.
    pub suppressed: u64,
    /// Predictions beyond the maximum of their image.
    pub beyond_max: u64,
}

impl AnnotateSummary {
    pub(super) fn count(&mut self, verdict: Verdict) {
        self.masks += 1;
        let counter = match verdict {
            Verdict::Kept => &mut self.kept,
            Verdict::BelowThreshold => &mut self.below_threshold,
            Verdict::LowQuality => &mut self.low_quality,
            Verdict::NotOnImage => &mut self.not_on_image,
            Verdict::Suppressed { .. } => &mut self.suppressed,
            Verdict::BeyondMax => &mut self.beyond_max,
        };
        *counter += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.images += other.images;
        self.done += other.done;
        self.without_vectors += other.without_vectors;
        self.masks += other.masks;
        self.kept += other.kept;
        self.below_threshold += other.below_threshold;
        self.low_quality += other.low_quality;
        self.not_on_image += other.not_on_image;
        self.suppressed += other.suppressed;
        self.beyond_max += other.beyond_max;
    }
}
