//! Annotation: a head predicts every mask of an image, and a policy decides which masks are kept.
//!
//! ```text
//! masks --head--> class, score, entropy --policy (score threshold, mask NMS, maximum)--> predictions
//! ```
//!
//! Every predicted mask becomes a row that says whether it was kept and, if not, why, so another policy needs no second
//! pass: [`rethreshold`] uses the stored scores. Annotation reads no image file and does not run Segment Anything.

mod annotator;
mod common;
mod decider;
mod job;
mod pending;
mod policy;
mod run;
mod sink;
mod summary;
mod thresholds;

#[cfg_attr(
    not(feature = "cluster"),
    expect(unused_imports, reason = "only clusters name it")
)]
pub(crate) use job::AnnotateTask;
pub use job::annotate_with_workers;
pub(crate) use pending::predictions_of;
pub use policy::{MapRule, NmsScope, Policy, ScoreRule, default_map_rule};
pub use run::{AnnotateRequest, annotate, rethreshold};
pub use summary::AnnotateSummary;
pub use thresholds::thresholds_from_labels;
