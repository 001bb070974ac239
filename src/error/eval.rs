//! What can go wrong with evaluations, and with results of others.

/// Everything that can go wrong with evaluations.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// No image is left to evaluate: metrics over no images say nothing.
    #[error("cannot evaluate: no image of the data set fits what was asked for")]
    NoImages,

    /// Head, class set and annotations do not speak of the same classes.
    #[error("the classes do not fit: {reason}")]
    Classes {
        /// Which, and why.
        reason: String,
    },
}
