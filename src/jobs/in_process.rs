//! Tasks of this process itself.

use std::sync::Arc;

use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use futures::{StreamExt, TryStreamExt, stream};

use super::run_plan::RunPlan;
use super::worker::{Worker, WorkerOptions};
use crate::Result;

/// Runs plans in this process.
#[derive(Debug)]
pub struct InThisProcess {
    worker: Arc<Worker>,
}

impl InThisProcess {
    /// Runs the tasks of plans on a worker of this process.
    pub fn new(options: WorkerOptions) -> Self {
        let worker = Arc::new(Worker::new(options));
        Self { worker }
    }

    /// Runs one partition of a plan, and returns the number of its rows.
    ///
    /// # Errors
    /// As [`RunPlan::run`].
    pub async fn run_partition(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        partition: usize,
    ) -> Result<u64> {
        let config = SessionConfig::new().with_extension(self.worker.clone());
        let context = Arc::new(TaskContext::default().with_session_config(config));
        let mut rows = plan.execute(partition, context)?;
        let mut count = 0;
        while let Some(batch) = rows.next().await {
            count += batch?.num_rows() as u64;
        }
        Ok(count)
    }
}

#[async_trait::async_trait]
impl RunPlan for InThisProcess {
    async fn run(&self, plan: Arc<dyn ExecutionPlan>) -> Result<u64> {
        let partitions = plan.properties().partitioning.partition_count();
        let run = |partition| self.run_partition(plan.clone(), partition);
        let tasks = stream::iter(0..partitions)
            .map(run)
            .buffer_unordered(self.worker.slots());
        tasks.try_fold(0, async |all, rows| Ok(all + rows)).await
    }
}
