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

    /// The training query yields no rows.
    #[error("there is nothing to train on: no labelled image has masks")]
    NothingToTrainOn,

    /// Every image was there when the parent head was trained.
    #[error("no image came after the parent head")]
    NoNewImages,

    /// Classes that no image of the training set shows.
    #[error("class set '{class_set}': no image to train on for {classes}")]
    ClassesWithoutImages {
        /// The class set.
        class_set: String,
        /// Which classes.
        classes: String,
    },

    /// Training ran away.
    #[error("the head's {what} are not finite numbers any more")]
    Diverged {
        /// What is not finite.
        what: &'static str,
    },

    /// Another head has the name.
    #[error("there is a head '{name}' already")]
    NameTaken {
        /// The name.
        name: String,
    },

    /// A head has predictions.
    #[error("head '{head}': there are predictions by it")]
    InUse {
        /// The head.
        head: String,
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
