//! Labels on masks: what people, or annotations, say that masks show.
//!
//! In: statements, one by one, from a CSV file, from ground truth, or spread to similar masks. Out: rows of `mask_labels`, which are only ever
//! added to: the newest statement of each reviewer about a mask counts (`review/mask_labels`), and undoing is a statement,
//! too. A label is a source word, as image-level labels are, so class sets map it.

mod alike;
mod answer;
mod centres;
mod csv_file;
mod ground_truth;
mod journal;
mod label;
mod propagate;
mod queue;
mod queued;
mod shown;
mod statement;
mod vectors;

pub use alike::{AlikeMask, masks_like_labelled};
pub use answer::Answer;
pub use csv_file::read_label_file;
pub use ground_truth::labels_of_ground_truth;
pub use journal::{Journal, fold_journals};
pub use label::{
    LabelRequest, LabelSummary, confirm_labels, label_masks, mask_labels, undo_labels,
};
pub use propagate::{PropagateRequest, PropagateSummary, propagate};
pub use queue::queue;
pub use queued::{QueueKind, QueueRequest, QueuedMask};
pub use shown::{ShownMask, shown_masks, statements_of_images};
pub use statement::{MaskKey, Origin, Statement, Verdict};
