//! The result of training.

use super::curve::Curve;
use super::weights::{HeadWeights, RefinedCounts};

/// The result of training.
#[derive(Debug, Clone)]
pub struct TrainedHead {
    /// Weights of the head that is trained last.
    pub weights: HeadWeights,
    /// Weights of the student, where the head is refined.
    pub student: Option<HeadWeights>,
    /// Weights of the teacher, where there is a student.
    pub teacher: Option<HeadWeights>,
    /// Every epoch, in order.
    pub curves: Vec<Curve>,
    /// The epoch that the weights, of the first member, come from; `None` for a closed form, which has no epochs.
    pub chosen: Option<Curve>,
    /// Labelled masks that were not trained on because their images are for validation.
    pub validation_masks: u64,
    /// Masks that the head was refined on.
    pub refined: Option<RefinedCounts>,
    /// The number by which the logits of each member were divided; empty for a head that is not refined.
    pub temperatures: Vec<f64>,
}
