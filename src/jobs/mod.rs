//! Work by many processes: tasks that each do a chunk of it and stage what they made, and one process that commits it.
//!
//! ```text
//! driver:   what is left to do --chunks--> jobs/ID/*.json --TaskExec--> workers, here or on a cluster
//! worker:   one partition = one chunk --files of rows--> staging/QUEUE/KEY.json
//! driver:   staging/ --one commit for many chunks--> tables
//! ```
//!
//! A chunk's name is made from its images, and it is staged with *create, fail if it exists*. A task can therefore run twice, on a
//! worker that died and on another, and its rows are committed once. What was staged when a driver died is committed by the next.
//!
//! The tasks are those of [`extract`](mod@crate::extract), [`embed`](mod@crate::embed), [`annotate`](mod@crate::annotate),
//! [`compact`](mod@crate::compact) and [`indexes`](mod@crate::indexes).

mod committer;
mod driver;
mod in_process;
mod plan;
mod results;
mod run_plan;
mod shared_file;
mod task;
mod waves;
mod worker;

pub(crate) use committer::Committer;
pub(crate) use driver::{Job, Work};
pub use in_process::InThisProcess;
pub use plan::TaskExec;
pub(crate) use results::OnWorkers;
pub use run_plan::{JobOptions, RunPlan};
pub(crate) use shared_file::SharedFiles;
pub use task::JobId;
pub(crate) use task::{Made, Task};
pub(crate) use waves::Waves;
pub use worker::{Worker, WorkerOptions};
