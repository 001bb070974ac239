//! Queries on a cluster: their plans run on its executors, and this process fetches the rows.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use ballista_core::client::BallistaClient;
use ballista_core::extension::{BallistaConfigGrpcEndpoint, SessionConfigExt};
use ballista_core::serde::protobuf::{PartitionLocation, SuccessfulJob};
use datafusion::common::not_impl_err;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_proto::physical_plan::AsExecutionPlan;
use datafusion_proto::protobuf::PhysicalPlanNode;
use futures::{StreamExt, TryStreamExt, stream};
use tonic::transport::Endpoint;

use super::client::{Cluster, to_bytes};
use super::codec::Codec;
use super::processes::LARGEST_MESSAGE;
use super::tasks::for_tasks;
use crate::Result;
use crate::error::sql_reason;
use crate::sql::scan::StoreScanExec;
use crate::store::QueryEngine;

/// Times that a query is begun: a lost executor takes the results of its tasks with it.
const ATTEMPTS: u32 = 4;
/// Rows that are fetched before any is given, in bytes. An executor that is lost while they are fetched costs nothing but time.
const HELD: usize = 64 << 20;
/// Largest plan that is sent, in bytes. It goes to every executor once for each stage.
const LARGEST_PLAN: usize = 64 << 20;
/// Times that a fetch of rows is tried, and the time between two, in milliseconds.
const FETCHES: (u8, u64) = (3, 500);
/// Time for which an executor may not answer.
const ANSWER: Duration = Duration::from_secs(20);
/// Partitions of a table for each slot of the cluster. More are evener, and cost more tasks.
const PARTITIONS_A_SLOT: usize = 2;

/// Runs queries on a [`Cluster`].
#[derive(Debug)]
pub struct QueryCluster {
    cluster: Cluster,
    partitions: usize,
    /// Queries that read fewer rows run in this process.
    smallest: u64,
    left: AtomicU64,
}

impl QueryCluster {
    /// Looks for the scheduler at `host:port`. Queries that read fewer than `smallest` rows stay in this process: they are
    /// done before tasks could be handed out.
    ///
    /// # Errors
    /// [`crate::Error::Cluster`] if there is no scheduler, or it has no executors.
    pub async fn connect(scheduler: &str, smallest: u64) -> Result<Self> {
        let cluster = Cluster::connect(scheduler).await?;
        let slots = cluster.slots().await?;
        Ok(Self {
            cluster,
            partitions: slots * PARTITIONS_A_SLOT,
            smallest,
            left: AtomicU64::new(0),
        })
    }

    /// Cancels the queries that are under way.
    ///
    /// # Errors
    /// As [`Cluster::cancel`].
    pub async fn cancel(&self) -> Result<()> {
        self.cluster.cancel().await
    }

    /// Number of queries that read tables, and that this process ran all the same, because the cluster cannot.
    pub fn left_to_this_process(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    fn leave(&self, reason: &str) {
        self.left.fetch_add(1, Ordering::Relaxed);
        tracing::warn!("the query runs in this process: {reason}");
    }

    /// The rows of a plan. What fails because of an executor that is gone is begun again, unless rows were given already that
    /// are more than [`HELD`].
    async fn run(&self, plan: &[u8], schema: &SchemaRef) -> Result<SendableRecordBatchStream> {
        let mut attempt = 1;
        loop {
            let executors = self.cluster.executor_ids().await;
            let begun = async {
                let job = self.cluster.run_bytes(plan.to_vec()).await?;
                let mut rows = Box::pin(fetch(job, schema.clone()));
                let (mut held, mut bytes) = (Vec::new(), 0);
                while bytes < HELD
                    && let Some(batch) = rows.next().await.transpose()?
                {
                    bytes += batch.get_array_memory_size();
                    held.push(Ok(batch));
                }
                Ok::<_, crate::Error>(stream::iter(held).chain(rows))
            };
            let begun = begun.await;
            let is_other = self.cluster.executor_ids().await != executors;
            let err = match begun {
                Ok(rows) if !is_other => {
                    let schema = schema.clone();
                    return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)));
                }
                // Ballista 54.1 may have counted the rows of a task that ran twice.
                Ok(_) => crate::Error::ClusterJob {
                    reason: "executors came or went".to_owned(),
                },
                Err(err) => err,
            };
            if attempt == ATTEMPTS || !(is_other || is_of_executors(&err)) {
                return Err(err);
            }
            tracing::warn!(attempt, "the query is begun again: {err}");
            attempt += 1;
        }
    }
}

/// Whether an error is of executors that are gone, and not of the query, as far as its text says.
fn is_of_executors(err: &crate::Error) -> bool {
    if matches!(err, crate::Error::Cluster { .. }) {
        return false; // there is no scheduler, or no executor; that was waited for
    }
    let text = err.to_string().to_lowercase();
    let words = [
        "fetch",
        "lost",
        "connect",
        "transport",
        "started anew",
        "cancelled",
    ];
    words.iter().any(|word| text.contains(word))
}

/// The rows of a job: every partition once, however often its task ran.
fn fetch(
    job: SuccessfulJob,
    schema: SchemaRef,
) -> impl futures::Stream<Item = Result<RecordBatch, DataFusionError>> {
    let mut seen = HashSet::new();
    let mut partitions = job.partition_location;
    partitions.retain(|it| {
        let partition = it.partition_id.as_ref().map(|it| it.partition_id);
        seen.insert((partition, it.map_partition_id))
    });
    partitions.sort_by_key(|it| it.partition_id.as_ref().map(|it| it.partition_id));
    stream::iter(partitions)
        .then(fetch_partition)
        .try_flatten()
        .and_then(move |batch| {
            // The stages of a plan can differ in which columns may be null.
            let count = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let columns = batch.columns().to_vec();
            let batch = RecordBatch::try_new_with_options(schema.clone(), columns, &count);
            futures::future::ready(batch.map_err(DataFusionError::from))
        })
}

async fn fetch_partition(
    location: PartitionLocation,
) -> Result<SendableRecordBatchStream, DataFusionError> {
    let (Some(executor), Some(partition)) = (location.executor_meta, location.partition_id) else {
        return Err(DataFusionError::Execution(
            "the scheduler does not say where the rows of a query are".to_owned(),
        ));
    };
    let port = executor.port as u16;
    let (tries, pause) = FETCHES;
    let client = BallistaClient::try_new(
        &executor.host,
        port,
        LARGEST_MESSAGE as usize,
        false,
        Some(Arc::new(BallistaConfigGrpcEndpoint::new(Arc::new(patient)))),
        tries,
        pause,
        0,
        0,
    );
    let mut client = client.await.map_err(external)?;
    let partition = partition.into();
    let rows = client.fetch_partition(
        &executor.id,
        &partition,
        location.file_id,
        location.is_sort_shuffle,
        true,
    );
    rows.await.map_err(external)
}

/// Gives up on an executor whose machine does not answer any more.
fn patient(endpoint: Endpoint) -> Result<Endpoint, Box<dyn std::error::Error + Send + Sync>> {
    let endpoint = endpoint.connect_timeout(ANSWER);
    Ok(endpoint
        .http2_keep_alive_interval(ANSWER)
        .keep_alive_timeout(ANSWER))
}

fn external(err: ballista_core::error::BallistaError) -> DataFusionError {
    DataFusionError::External(Box::new(err))
}

/// A plan as bytes from which executors read the same plan. The scheduler would wait for ever for one that they cannot read.
fn written(plan: Arc<dyn ExecutionPlan>) -> Result<Vec<u8>, DataFusionError> {
    let sent = displayable(plan.as_ref()).indent(false).to_string();
    let bytes = to_bytes(plan)?;
    let context = SessionContext::new().task_ctx();
    let read = PhysicalPlanNode::try_decode(&bytes)?;
    let read = read.try_into_physical_plan(&context, &Codec::default())?;
    let read = displayable(read.as_ref()).indent(false).to_string();
    if read != sent {
        tracing::debug!("a plan is read otherwise than it was written:\n{sent}\n{read}");
        return not_impl_err!("a part of its plan cannot be sent");
    }
    Ok(bytes)
}

/// Number of rows of the store that a plan reads, and whether it reads any table.
fn read_rows(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<u64>> {
    let mut rows = None;
    plan.apply(|plan| {
        if let Some(scan) = plan.downcast_ref::<StoreScanExec>() {
            *rows.get_or_insert(0) += scan.rows();
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(rows)
}

#[async_trait::async_trait]
impl QueryEngine for QueryCluster {
    fn config(&self) -> SessionConfig {
        // Hash joins, as in one process: sort-merge joins, Ballista's default, are slower, and spill.
        SessionConfig::new_with_ballista()
            .with_target_partitions(self.partitions)
            .set_bool("datafusion.optimizer.prefer_hash_join", true)
    }

    async fn rows(
        &self,
        plan: Arc<dyn ExecutionPlan>,
    ) -> Result<Option<SendableRecordBatchStream>> {
        match read_rows(&plan)? {
            Some(rows) if rows >= self.smallest => {}
            _ => return Ok(None),
        }
        let schema = plan.schema();
        let bytes = match for_tasks(plan).and_then(written) {
            Ok(bytes) if bytes.len() <= LARGEST_PLAN => bytes,
            Ok(bytes) => {
                let (found, most) = (bytes.len() >> 20, LARGEST_PLAN >> 20);
                self.leave(&format!(
                    "its plan has {found} MB, and clusters get up to {most}"
                ));
                return Ok(None);
            }
            Err(err) => {
                self.leave(&sql_reason(&err));
                return Ok(None);
            }
        };
        match self.run(&bytes, &schema).await {
            Ok(rows) => Ok(Some(rows)),
            // An error of the query itself is clearer from here.
            Err(err @ crate::Error::ClusterJob { .. }) => {
                self.leave(&err.to_string());
                Ok(None)
            }
            Err(err) => Err(err),
        }
    }
}
