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

    /// The store has no such class set, or no such version of it.
    #[error("there is no class set '{name}'; 'grainstore classes list' lists those there are")]
    NoSuchClassSet {
        /// The name asked for, with `@VERSION` if one was.
        name: String,
    },

    /// A SELECT yields nothing that a head could be trained on.
    #[error("the training query cannot be used: {reason}")]
    TrainingQuery {
        /// What it lacks.
        reason: String,
    },

    /// No extractor, or several, where one was to be named.
    #[error("{asked}; give the first digits of its id with --extractor; there are: {stored}")]
    Extractor {
        /// What was asked for, and how it fails.
        asked: String,
        /// Extractors there are.
        stored: String,
    },

    /// Several heads have ids that begin so.
    #[error("'{word}' may be any of these heads; give more digits of its id: {heads}")]
    AmbiguousHead {
        /// The beginning of an id.
        word: String,
        /// Ids and names.
        heads: String,
    },

    /// The store has no such head.
    #[error("there is no head '{name}'; 'grainstore heads list' lists those there are")]
    NoSuchHead {
        /// Name or id asked for.
        name: String,
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
