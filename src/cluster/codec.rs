//! Grainstore's nodes as bytes.

use std::any::Any;
use std::sync::Arc;

use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use serde::{Deserialize, Serialize};

use crate::extract::{ExtractExec, ExtractSpec};

/// What the bytes of grainstore's nodes begin with; those of other nodes are Ballista's.
const TAG: &[u8] = b"GRN1";

/// A node, with all that it is made from.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "node")]
enum Node {
    Extract {
        spec: ExtractSpec,
        first: u32,
        count: u32,
    },
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
        let node = serde_json::from_slice(json).map_err(|err| {
            DataFusionError::Execution(format!(
                "a node of a plan cannot be read; client and workers need the same version of grainstore: {err}"
            ))
        })?;
        Ok(match node {
            Node::Extract { spec, first, count } => {
                Arc::new(ExtractExec::new(Arc::new(spec), first, count))
            }
        })
    }

    fn try_encode(&self, node: Arc<dyn ExecutionPlan>, bytes: &mut Vec<u8>) -> Result<()> {
        let any: &dyn Any = node.as_ref();
        let Some(extract) = any.downcast_ref::<ExtractExec>() else {
            return self.others.try_encode(node, bytes);
        };
        let (spec, first, count) = extract.parts();
        let spec = spec.clone();
        let json = serde_json::to_vec(&Node::Extract { spec, first, count });
        bytes.extend_from_slice(TAG);
        bytes.extend(json.map_err(|err| DataFusionError::External(Box::new(err)))?);
        Ok(())
    }
}
