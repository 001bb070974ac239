//! The tasks of a job as a node of a plan: partition p is chunk `first + p`.

use std::fmt;
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

use super::spec::ExtractSpec;
use super::task;
use super::worker::Worker;

/// Extracts chunks of images, one a partition, and gives a row for each: its number, and how many images, masks and failures
/// were staged in how many seconds. The masks themselves go into the store.
///
/// It runs where the session has a [`Worker`] as an extension.
#[derive(Debug, Clone)]
pub struct ExtractExec {
    spec: Arc<ExtractSpec>,
    first: u32,
    count: u32,
    properties: Arc<PlanProperties>,
}

impl ExtractExec {
    /// The chunks from number `first` on.
    pub fn new(spec: Arc<ExtractSpec>, first: u32, count: u32) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema()),
            Partitioning::UnknownPartitioning(count as usize),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self {
            spec,
            first,
            count,
            properties: Arc::new(properties),
        }
    }

    /// What it is made from, in the order of [`ExtractExec::new`].
    pub fn parts(&self) -> (&ExtractSpec, u32, u32) {
        (&self.spec, self.first, self.count)
    }
}

fn schema() -> SchemaRef {
    let count = |name| Field::new(name, DataType::UInt64, false);
    Arc::new(Schema::new(vec![
        count("chunk"),
        count("images"),
        count("masks"),
        count("failed"),
        Field::new("seconds", DataType::Float64, false),
    ]))
}

impl DisplayAs for ExtractExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ExtractExec: extractor={}, chunks={}, first={}",
            self.spec.extractor_id, self.count, self.first
        )
    }
}

impl ExecutionPlan for ExtractExec {
    fn name(&self) -> &str {
        "ExtractExec"
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
        let spec = self.spec.clone();
        let row = async move {
            let staged = task::run_again(&worker, &spec, number).await;
            let staged = staged.map_err(|err| DataFusionError::External(Box::new(err)))?;
            let count = |n: u64| Arc::new(UInt64Array::from(vec![n])) as _;
            Ok(RecordBatch::try_new(
                schema(),
                vec![
                    count(u64::from(number)),
                    count(staged.images),
                    count(staged.planned.masks),
                    count(staged.failures.len() as u64),
                    Arc::new(Float64Array::from(vec![staged.seconds])),
                ],
            )?)
        };
        let rows = RecordBatchStreamAdapter::new(schema(), stream::once(row));
        Ok(Box::pin(rows))
    }
}
