//! Errors of class sets and heads.

/// Everything that can go wrong with class sets and heads.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// A class set contradicts itself, or cannot be used.
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

    /// A student picks no mask of any class.
    #[error(
        "there is nothing to refine a head on: no mask of the training images is in 'masks' under their ids"
    )]
    NothingToRefine,

    /// A head is to be trained on labelled masks alone, and there are none.
    #[error("no mask is labelled that the head could be trained on")]
    NoLabelledMasks,

    /// All labelled masks are of one class, or all of none.
    #[error(
        "the labelled masks are all of one kind; a head needs two classes, or one and masks that show none"
    )]
    OneKindOfMask,

    /// A head is to be trained on labelled images, and only masks are labelled.
    #[error("no image is labelled that the head could be trained on; only masks are")]
    NoLabelledImages,

    /// No extractor's masks have the vectors that a head is to read.
    #[error("no extractor has masks with vectors of {embedders}")]
    NoVectors {
        /// The embedders.
        embedders: String,
    },

    /// The masks of an extractor were imported, without tokens.
    #[error("extractor '{extractor_id}' has imported masks, and these have no tokens")]
    NoTokens {
        /// The extractor.
        extractor_id: String,
    },

    /// No image was added after the parent head was trained.
    #[error("no image came after the parent head")]
    NoNewImages,

    /// Some classes have no image in the training set.
    #[error("class set '{class_set}': no image to train on for {classes}")]
    ClassesWithoutImages {
        /// The class set.
        class_set: String,
        /// Which classes.
        classes: String,
    },

    /// Training diverged.
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

    /// A head is in use, because it has predictions.
    #[error("head '{head}': there are predictions by it")]
    InUse {
        /// The head.
        head: String,
    },

    /// A head cannot be used as requested.
    #[error("head '{head}': {reason}")]
    Unusable {
        /// The head's name, or the file that holds it.
        head: String,
        /// The reason.
        reason: String,
    },

    /// A `CREATE HEAD` statement cannot be read.
    #[error("cannot read the CREATE HEAD statement: {reason}")]
    CreateHead {
        /// What was expected and found.
        reason: String,
    },
}
