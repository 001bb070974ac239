//! Evaluation: predictions held against annotated objects, by the reports of `queries/eval`.
//!
//! ```text
//! predictions + ground_truth --match_detections(), semantic_map()--> matches, pixel counts --SQL--> evaluations
//! ```
//!
//! Which reports run and in which order stands here; what a figure means stands in the report.

mod check;
mod compare;
mod request;
mod run;
mod session;

pub use compare::{CompareRequest, ComparedMetric, Comparison, compare};
pub use request::EvalRequest;
pub use run::{Evaluation, Metric, evaluate, evaluate_in_session};
pub use session::EvalSession;
