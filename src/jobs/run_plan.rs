//! What runs the plan of a job, and how a job is cut into tasks.

use std::sync::Arc;
use std::time::Duration;

use datafusion::physical_plan::ExecutionPlan;

use crate::Result;

/// Runs plans: in this process, or on a cluster.
#[async_trait::async_trait]
pub trait RunPlan: Send + Sync {
    /// Runs every partition of a plan, and returns the number of rows that came back. What a partition does must be safe to
    /// do twice.
    ///
    /// # Errors
    /// The error of the first partition that failed for good.
    async fn run(&self, plan: Arc<dyn ExecutionPlan>) -> Result<u64>;

    /// Takes back what runs, for whoever no longer waits for it.
    ///
    /// # Errors
    /// If it cannot be taken back.
    async fn cancel(&self) -> Result<()> {
        Ok(())
    }
}

/// How a job is cut into tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobOptions {
    /// Images of a task. What a worker loses when it dies, and the rows of a file.
    pub chunk_images: usize,
    /// Rows of a task that makes a part of an index, unless one file has more.
    pub part_rows: u64,
    /// Tasks that an engine gets at the same time; it keeps a record of each.
    pub wave: u32,
    /// Time between two looks at what was staged.
    pub poll: Duration,
    /// Time between two commits.
    pub commit_every: Duration,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            chunk_images: 64,
            part_rows: 250_000,
            wave: 4000,
            poll: Duration::from_secs(2),
            commit_every: Duration::from_secs(60),
        }
    }
}
