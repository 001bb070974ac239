//! What can go wrong with evaluations, and with results of others.

/// Everything that can go wrong with evaluations.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// There is nothing to hold predictions against, or it is not clear what.
    #[error("cannot evaluate: {reason}")]
    GroundTruth {
        /// What is there, and what to do.
        reason: String,
    },

    /// Head, class set and annotations do not speak of the same classes.
    #[error("the classes do not fit: {reason}")]
    Classes {
        /// Which, and why.
        reason: String,
    },
}
