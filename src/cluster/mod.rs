//! Workers on other machines, through Apache Ballista: a scheduler, executors, and clients that hand plans to them, of jobs
//! ([`Cluster`]) and of queries ([`QueryCluster`]).
//!
//! Only this module names Ballista. The nodes that run on executors are DataFusion's and grainstore's own
//! ([`TaskExec`](crate::jobs::TaskExec), and scans of a store's tables), which are shipped as JSON. Keys of buckets are not shipped: every
//! process has its own environment.
//!
//! Ballista checks nobody's identity. Whoever can reach a scheduler or an executor can run plans there, so they listen on this
//! machine alone unless told otherwise.

mod client;
mod codec;
mod processes;
mod query;
mod tasks;

pub use client::Cluster;
pub use processes::{ExecutorOptions, run_executor, run_scheduler};
pub use query::QueryCluster;
