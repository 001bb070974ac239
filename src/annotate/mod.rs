//! Annotation: every mask of an image judged by a head, and a policy that says which masks stay.
//!
//! ```text
//! masks --head--> class, score, entropy --policy (score threshold, mask NMS, maximum)--> predictions
//! ```
//!
//! Every judged mask becomes a row, kept or not and why not, so another policy needs no second pass:
//! [`rethreshold`] takes the stored scores. No image file is read and no Segment Anything runs.

mod annotator;
mod pending;
mod policy;
mod run;
mod sink;

pub(crate) use pending::{images_annotated, predictions_of};
pub use policy::{Candidate, NmsScope, Policy, Verdict};
pub use run::{AnnotateRequest, AnnotateSummary, annotate, rethreshold};
