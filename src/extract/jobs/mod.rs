//! Extraction by many processes: tasks that each extract a few images and stage what they made, and one process that commits it.
//!
//! ```text
//! driver:   images not yet done --chunks--> jobs/ID/*.json --ExtractExec--> workers, here or on a cluster
//! worker:   one partition = one chunk: photos, model --files of rows--> staging/extract-ID/KEY.json
//! driver:   staging/ --one commit for many chunks--> masks, extractions, embeddings, image_features, failures
//! ```
//!
//! A chunk's name is made from its images, and it is staged with *create, fail if it exists*. A task can therefore run twice, on a
//! worker that died and on another, and its rows are committed once. What was staged when a driver died is committed by the next.

mod committer;
mod driver;
mod in_process;
mod plan;
mod run_plan;
mod spec;
mod task;
mod worker;

pub use driver::extract_with_workers;
pub use in_process::InThisProcess;
pub use plan::ExtractExec;
pub use run_plan::{JobOptions, RunPlan};
pub use spec::ExtractSpec;
pub use worker::{Worker, WorkerOptions};
