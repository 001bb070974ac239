//! Grainstore's nodes as bytes.

use std::any::Any;
use std::sync::Arc;

use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use serde::{Deserialize, Serialize};

use crate::annotate::AnnotateTask;
use crate::embed::EmbedTask;
use crate::extract::ExtractTask;
use crate::jobs::{Task, TaskExec};

/// What the bytes of grainstore's nodes begin with; those of other nodes are Ballista's.
const TAG: &[u8] = b"GRN1";

/// A node, with all that it is made from.
#[derive(Debug, Serialize, Deserialize)]
struct Node {
    node: String,
    task: serde_json::Value,
    first: u32,
    count: u32,
}

impl Node {
    fn open(self) -> serde_json::Result<Option<TaskExec>> {
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
            _ => return Ok(None),
        };
        open(task, first, count).map(Some)
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

/// Writes grainstore's nodes as JSON, and leaves the others to Ballista.
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
            return self.others.try_decode(bytes, inputs, context);
        };
        let node = serde_json::from_slice(json).and_then(Node::open);
        match node {
            Ok(Some(node)) => Ok(Arc::new(node)),
            Ok(None) => Err(unreadable("it is not known")),
            Err(err) => Err(unreadable(&err.to_string())),
        }
    }

    fn try_encode(&self, node: Arc<dyn ExecutionPlan>, bytes: &mut Vec<u8>) -> Result<()> {
        let any: &dyn Any = node.as_ref();
        let Some(exec) = any.downcast_ref::<TaskExec>() else {
            return self.others.try_encode(node, bytes);
        };
        let json = || {
            let (first, count) = exec.chunks();
            let node = Node {
                node: exec.name().to_owned(),
                task: exec.task_to_json()?,
                first,
                count,
            };
            Ok::<_, crate::Error>(serde_json::to_vec(&node)?)
        };
        bytes.extend_from_slice(TAG);
        bytes.extend(json().map_err(|err| DataFusionError::External(Box::new(err)))?);
        Ok(())
    }
}

fn unreadable(reason: &str) -> DataFusionError {
    DataFusionError::Execution(format!(
        "a node of a plan cannot be read; client, scheduler and executors need the same version of grainstore: {reason}"
    ))
}
