//! The tasks of a job as a node of a plan: partition p is chunk `first + p`.

use std::fmt::{self, Debug};
use std::sync::Arc;

use arrow::array::{Float64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use futures::stream;

use super::task::{self, JobId, Report, Task};
use super::worker::Worker;
use crate::Result;

/// Does chunks of work, one a partition, and gives a row for each: its number, and how many images and failures were staged in
/// how many seconds. What was made goes into the store.
///
/// It runs where the session has a [`Worker`] as an extension.
#[derive(Debug, Clone)]
pub struct TaskExec {
    task: Arc<dyn AnyTask>,
    first: u32,
    count: u32,
    properties: Arc<PlanProperties>,
}

/// A [`Task`] of any kind.
#[async_trait::async_trait]
trait AnyTask: Debug + Send + Sync {
    fn node(&self) -> &'static str;
    fn job(&self) -> &JobId;
    fn to_json(&self) -> Result<serde_json::Value>;
    async fn run(&self, worker: &Worker, number: u32) -> Result<Report>;
}

#[async_trait::async_trait]
impl<T: Task> AnyTask for T {
    fn node(&self) -> &'static str {
        T::NODE
    }

    fn job(&self) -> &JobId {
        Task::job(self)
    }

    fn to_json(&self) -> Result<serde_json::Value> {
        Ok(serde_json::to_value(self)?)
    }

    async fn run(&self, worker: &Worker, number: u32) -> Result<Report> {
        task::run(self, worker, number).await
    }
}

impl TaskExec {
    /// The chunks of a task from number `first` on.
    pub(crate) fn new<T: Task>(task: T, first: u32, count: u32) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema()),
            Partitioning::UnknownPartitioning(count as usize),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self {
            task: Arc::new(task),
            first,
            count,
            properties: Arc::new(properties),
        }
    }

    /// Numbers of its chunks: the first, and how many.
    pub fn chunks(&self) -> (u32, u32) {
        (self.first, self.count)
    }

    /// Its task as JSON, from which a worker makes it again.
    ///
    /// # Errors
    /// [`crate::Error::Json`].
    pub fn task_to_json(&self) -> Result<serde_json::Value> {
        self.task.to_json()
    }
}

fn schema() -> SchemaRef {
    let count = |name| Field::new(name, DataType::UInt64, false);
    Arc::new(Schema::new(vec![
        count("chunk"),
        count("images"),
        count("failed"),
        Field::new("seconds", DataType::Float64, false),
    ]))
}

impl DisplayAs for TaskExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: queue={}, chunks={}, first={}",
            self.task.node(),
            self.task.job().queue,
            self.count,
            self.first
        )
    }
}

impl ExecutionPlan for TaskExec {
    fn name(&self) -> &str {
        self.task.node()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> datafusion::error::Result<SendableRecordBatchStream> {
        let worker = context.session_config().get_extension::<Worker>();
        let worker = worker.ok_or_else(|| {
            DataFusionError::Execution("this process was not started as a worker".to_owned())
        })?;
        let number = u32::try_from(partition).ok();
        let number = number.and_then(|partition| self.first.checked_add(partition));
        let number = number.ok_or_else(|| {
            DataFusionError::Execution(format!("there is no chunk for partition {partition}"))
        })?;
        let task = self.task.clone();
        let row = async move {
            let done = task.run(&worker, number).await;
            let done = done.map_err(|err| DataFusionError::External(Box::new(err)))?;
            let count = |n: u64| Arc::new(UInt64Array::from(vec![n])) as _;
            Ok(RecordBatch::try_new(
                schema(),
                vec![
                    count(u64::from(number)),
                    count(done.images),
                    count(done.failed),
                    Arc::new(Float64Array::from(vec![done.seconds])),
                ],
            )?)
        };
        let rows = RecordBatchStreamAdapter::new(schema(), stream::once(row));
        Ok(Box::pin(rows))
    }
}
