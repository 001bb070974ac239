//! Errors of labels on masks.

/// Everything that can go wrong with labels on masks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReviewError {
    /// A label is on a mask that the store does not have.
    #[error("{place}image '{image}' has no mask {mask_index} of extractor '{extractor_id}'")]
    NoSuchMask {
        /// Where the label was given, such as `labels.csv line 3: `; empty for a label of its own.
        place: String,
        /// Id of the image.
        image: String,
        /// The index.
        mask_index: i32,
        /// The extractor.
        extractor_id: String,
    },

    /// One request has two labels for one mask.
    #[error(
        "{place}mask {mask_index} of image '{image}' has another label in the same file, on line {other}"
    )]
    Twice {
        /// Where the label was given.
        place: String,
        /// Id of the image.
        image: String,
        /// The index.
        mask_index: i32,
        /// Line of the other label.
        other: u64,
    },

    /// No labelled mask has a vector by which others could be compared with it.
    #[error("no mask with a vector in '{table}' is labelled, so there is nothing to propagate")]
    NothingToPropagate {
        /// The table of the vectors.
        table: String,
    },

    /// An id, or the first digits of one, is that of no label that counts.
    #[error("no label that counts has the id '{id}'")]
    NoSuchLabel {
        /// The id.
        id: String,
    },

    /// The ids of several labels begin so.
    #[error("several labels have ids that begin with '{id}': '{one}', '{other}'; give more of it")]
    AmbiguousLabel {
        /// The first digits that were given.
        id: String,
        /// A label's id.
        one: String,
        /// Another's.
        other: String,
    },
}
