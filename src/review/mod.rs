//! Labels on masks: what people, or annotations, say that masks show.
//!
//! In: statements, one by one, from a CSV file or from ground truth. Out: rows of `mask_labels`, which are only ever
//! added to: the newest statement of each reviewer about a mask counts (`review/mask_labels`), and undoing is a statement,
//! too. A label is a source word, as image-level labels are, so class sets map it.

mod csv_file;
mod ground_truth;
mod label;
mod statement;

pub use csv_file::read_label_file;
pub use ground_truth::labels_of_ground_truth;
pub use label::{LabelRequest, LabelSummary, label_masks, mask_labels, undo_labels};
pub use statement::{MaskKey, Origin, Statement, Verdict};
