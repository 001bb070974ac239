//! What can go wrong with class sets and heads.

/// Everything that can go wrong with class sets and heads.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// A class set contradicts itself, or cannot serve.
    #[error("class set '{class_set}': {reason}")]
    ClassSet {
        /// The class set.
        class_set: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A SELECT yields nothing that a head could be trained on.
    #[error("the training query cannot be used: {reason}")]
    TrainingQuery {
        /// What it lacks.
        reason: String,
    },

    /// A head cannot be used as it was asked to be.
    #[error("head '{head}': {reason}")]
    Unusable {
        /// Its name, or the file it stands in.
        head: String,
        /// Why.
        reason: String,
    },

    /// A `CREATE HEAD` statement cannot be read.
    #[error("cannot read the CREATE HEAD statement: {reason}")]
    CreateHead {
        /// What was expected and found.
        reason: String,
    },
}
