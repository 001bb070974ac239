//! Grainstore's nodes and functions as bytes.

use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;

use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use ballista_core::execution_plans::ShuffleReaderExec;
use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{AggregateUDF, Expr, ScalarUDF};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::bytes::Serializeable;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use serde::{Deserialize, Serialize};

use crate::annotate::AnnotateTask;
use crate::compact::CompactTask;
use crate::embed::EmbedTask;
use crate::extract::ExtractTask;
use crate::head::{predict_from_bytes, predict_to_bytes};
use crate::indexes::IndexTask;
use crate::jobs::{Task, TaskExec};
use crate::schema::StoreTable;
use crate::sql::functions;
use crate::sql::scan::{ScanSpec, StoreScanExec};

/// What the bytes of grainstore's nodes and functions begin with; those of others are Ballista's.
const TAG: &[u8] = b"GRN2";

/// A node, with all that it is made from.
#[derive(Debug, Serialize, Deserialize)]
enum Node {
    Task(TaskNode),
    Scan(ScanNode),
}

#[derive(Debug, Serialize, Deserialize)]
struct TaskNode {
    node: String,
    task: serde_json::Value,
    first: u32,
    count: u32,
}

/// A scan. Its filter is as DataFusion writes it, its schema an Arrow stream without rows.
#[derive(Debug, Serialize, Deserialize)]
struct ScanNode {
    store: String,
    commit: u64,
    table: String,
    filter: Option<Vec<u8>>,
    limit: Option<u64>,
    partitions: Vec<(Vec<u64>, u64)>,
    schema: Vec<u8>,
}

impl TaskNode {
    fn of(exec: &TaskExec) -> crate::Result<Self> {
        let (first, count) = exec.chunks();
        Ok(Self {
            node: exec.name().to_owned(),
            task: exec.task_to_json()?,
            first,
            count,
        })
    }

    fn open(self) -> Result<TaskExec> {
        let Self {
            node,
            task,
            first,
            count,
        } = self;
        let open = match node.as_str() {
            ExtractTask::NODE => opened::<ExtractTask>,
            EmbedTask::NODE => opened::<EmbedTask>,
            AnnotateTask::NODE => opened::<AnnotateTask>,
            CompactTask::NODE => opened::<CompactTask>,
            IndexTask::NODE => opened::<IndexTask>,
            _ => return Err(unreadable(&format!("there is no node '{node}'"))),
        };
        open(task, first, count).map_err(|err| unreadable(&err.to_string()))
    }
}

fn opened<T: Task>(
    task: serde_json::Value,
    first: u32,
    count: u32,
) -> serde_json::Result<TaskExec> {
    let task: T = serde_json::from_value(task)?;
    Ok(TaskExec::new(task, first, count))
}

impl ScanNode {
    fn of(exec: &StoreScanExec) -> Result<Self> {
        let spec = exec.spec();
        let filter = spec.filter.as_ref().map(Serializeable::to_bytes);
        let mut schema = StreamWriter::try_new(Vec::new(), &exec.schema())?;
        schema.finish()?;
        Ok(Self {
            store: spec.store.clone(),
            commit: spec.commit,
            table: spec.table.path(),
            filter: filter.transpose()?.map(|bytes| bytes.to_vec()),
            limit: spec.limit,
            partitions: spec.partitions.clone(),
            schema: schema.into_inner()?,
        })
    }

    fn open(self) -> Result<StoreScanExec> {
        let unknown = || unreadable(&format!("there is no table '{}'", self.table));
        let table = StoreTable::from_path(&self.table).ok_or_else(unknown)?;
        let schema = StreamReader::try_new(self.schema.as_slice(), None)?.schema();
        let filter = self.filter.as_deref().map(Expr::from_bytes).transpose()?;
        let names = schema.fields().iter().map(|field| field.name().clone());
        let spec = ScanSpec {
            store: self.store,
            commit: self.commit,
            table,
            columns: names.collect(),
            filter,
            limit: self.limit,
            partitions: self.partitions,
        };
        Ok(StoreScanExec::new(spec, schema))
    }
}

/// Writes grainstore's nodes as JSON and its functions by their names, and leaves the others to Ballista.
#[derive(Debug, Default)]
pub(super) struct Codec {
    others: BallistaPhysicalExtensionCodec,
}

impl PhysicalExtensionCodec for Codec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(json) = bytes.strip_prefix(TAG) else {
            return each_result_once(self.others.try_decode(bytes, inputs, context)?);
        };
        let node = serde_json::from_slice(json);
        match node.map_err(|err| unreadable(&err.to_string()))? {
            Node::Task(node) => Ok(Arc::new(node.open()?)),
            Node::Scan(node) => Ok(Arc::new(node.open()?)),
        }
    }

    fn try_encode(&self, node: Arc<dyn ExecutionPlan>, bytes: &mut Vec<u8>) -> Result<()> {
        let any: &dyn Any = node.as_ref();
        let node = if let Some(exec) = any.downcast_ref::<TaskExec>() {
            Node::Task(TaskNode::of(exec).map_err(external)?)
        } else if let Some(exec) = any.downcast_ref::<StoreScanExec>() {
            Node::Scan(ScanNode::of(exec)?)
        } else {
            return self.others.try_encode(node, bytes);
        };
        bytes.extend_from_slice(TAG);
        let json = serde_json::to_vec(&node);
        bytes.extend(json.map_err(|err| external(err.into()))?);
        Ok(())
    }

    fn try_decode_udf(&self, name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
        let Some(rest) = bytes.strip_prefix(TAG) else {
            return self.others.try_decode_udf(name, bytes);
        };
        if !rest.is_empty() {
            return Ok(Arc::new(predict_from_bytes(rest).map_err(external)?));
        }
        let known = functions::scalars()
            .into_iter()
            .find(|it| it.name() == name);
        known.map(Arc::new).ok_or_else(|| unknown_function(name))
    }

    fn try_encode_udf(&self, function: &ScalarUDF, bytes: &mut Vec<u8>) -> Result<()> {
        let is_own = || functions::scalars().iter().any(|own| own == function);
        if let Some(predict) = predict_to_bytes(function).map_err(external)? {
            bytes.extend_from_slice(TAG);
            bytes.extend(predict);
        } else if is_own() {
            bytes.extend_from_slice(TAG);
        } else {
            self.others.try_encode_udf(function, bytes)?;
        }
        Ok(())
    }

    fn try_decode_udaf(&self, name: &str, bytes: &[u8]) -> Result<Arc<AggregateUDF>> {
        if bytes != TAG {
            return self.others.try_decode_udaf(name, bytes);
        }
        let mut known = functions::aggregates().into_iter();
        let known = known.find(|it| it.name() == name);
        known.map(Arc::new).ok_or_else(|| unknown_function(name))
    }

    fn try_encode_udaf(&self, function: &AggregateUDF, bytes: &mut Vec<u8>) -> Result<()> {
        if functions::aggregates().iter().any(|own| own == function) {
            bytes.extend_from_slice(TAG);
            return Ok(());
        }
        self.others.try_encode_udaf(function, bytes)
    }
}

/// Takes each result of an earlier stage once. Ballista 54.1 lists those of a task twice if it ran twice because its executor
/// was lost and came back.
fn each_result_once(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let any: &dyn Any = plan.as_ref();
    let Some(reader) = any.downcast_ref::<ShuffleReaderExec>() else {
        return Ok(plan);
    };
    let mut dropped = 0;
    let mut partitions = reader.partition.clone();
    for locations in &mut partitions {
        let before = locations.len();
        // All readers take the same one of several.
        locations.sort_by(|a, b| a.executor_meta.id.cmp(&b.executor_meta.id));
        let mut seen = HashSet::new();
        locations.retain(|it| seen.insert((it.partition_id.partition_id, it.map_partition_id)));
        locations.sort_by_key(|it| (it.partition_id.partition_id, it.map_partition_id));
        dropped += before - locations.len();
    }
    if dropped == 0 {
        return Ok(plan);
    }
    tracing::warn!(dropped, "results of tasks that ran twice are left out");
    let schema = reader.schema();
    let partitioning = reader.properties().partitioning.clone();
    let once = if reader.broadcast {
        let all = partitions.into_iter().flatten().collect();
        let upstream = reader.upstream_partition_count;
        ShuffleReaderExec::try_new_broadcast(reader.stage_id, all, schema, upstream)
    } else {
        ShuffleReaderExec::try_new(reader.stage_id, partitions, schema, partitioning)
    };
    Ok(Arc::new(once?))
}

fn external(err: crate::Error) -> DataFusionError {
    DataFusionError::External(Box::new(err))
}

fn unknown_function(name: &str) -> DataFusionError {
    unreadable(&format!("there is no function '{name}'"))
}

fn unreadable(reason: &str) -> DataFusionError {
    DataFusionError::Execution(format!(
        "a plan cannot be read; client, scheduler and executors need the same version of grainstore: {reason}"
    ))
}
