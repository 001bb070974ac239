//! Where the plans of queries run, if not in this process.

use std::fmt::Debug;
use std::sync::Arc;

use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;

use crate::Result;

/// Runs the plans of queries elsewhere than in this process. [`Store::with_engine`](super::Store::with_engine) has the queries of
/// a store run by one.
#[async_trait::async_trait]
pub trait QueryEngine: Debug + Send + Sync {
    /// The session in which queries are planned for this engine.
    fn config(&self) -> SessionConfig;

    /// Runs a plan and streams the rows of all its partitions; `None` if this process should run it.
    ///
    /// # Errors
    /// Whatever keeps the plan from running there.
    async fn rows(&self, plan: Arc<dyn ExecutionPlan>)
    -> Result<Option<SendableRecordBatchStream>>;
}
