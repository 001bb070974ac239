//! Evaluation: predictions compared with annotated objects, by the queries of `queries/eval`.
//!
//! ```text
//! predictions + ground_truth --match_detections(), semantic_map()--> matches, pixel counts --SQL--> evaluations
//! ```
//!
//! This module decides which queries run and in which order; the queries define what their metrics mean.

mod ceiling;
mod check;
mod compare;
mod request;
mod run;
mod session;

pub use ceiling::{Ceiling, CeilingRequest, CeilingRow, ceiling};
pub use compare::{CompareRequest, ComparedMetric, Comparison, compare};
pub use request::EvalRequest;
pub(crate) use run::evaluate_in_session;
pub use run::{Evaluation, Metric, evaluate};
pub use session::EvalSession;
