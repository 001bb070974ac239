//! Errors of evaluations.

/// Everything that can go wrong with evaluations.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// No image is left to evaluate, and metrics over no images have no meaning.
    #[error("cannot evaluate: no image of the data set fits what was asked for")]
    NoImages,

    /// Head, class set and annotations do not have the same classes.
    #[error("the classes do not fit: {reason}")]
    Classes {
        /// Which classes, and why.
        reason: String,
    },
}
