//! `predict` with its heads as bytes, for processes that do not have the store.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use serde::{Deserialize, Serialize};

use super::{Heads, Kind, Predict, Ready};
use crate::head::predictor::MaskPredictor;
use crate::head::weights::LoadedHead;
use crate::ids::ExtractorId;
use crate::store::rows::HeadRow;
use crate::{Error, Result};

/// `predict` and `predict_scores` as bytes, with their heads, for a process without the store; `None` for other functions.
///
/// # Errors
/// [`Error::Json`].
pub(crate) fn predict_to_bytes(function: &ScalarUDF) -> Result<Option<Vec<u8>>> {
    let any: &dyn Any = function.inner().as_ref();
    let Some(predict) = any.downcast_ref::<Predict>() else {
        return Ok(None);
    };
    let (mut heads, mut weights) = (Vec::new(), Vec::new());
    for (name, ready) in &predict.heads.0 {
        let mut row = ready.predictor.head().row.clone();
        let of_head = row.weights.take().unwrap_or_default();
        heads.push(HeadBytes {
            name: name.clone(),
            extractors: ready.extractors.clone(),
            weights: of_head.len(),
            row,
        });
        weights.extend(of_head);
    }
    let json = serde_json::to_vec(&(predict.kind, heads))?;
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json);
    bytes.extend(weights);
    Ok(Some(bytes))
}

/// The function of [`predict_to_bytes`].
///
/// # Errors
/// [`Error::Json`] for other bytes, and errors of heads.
pub(crate) fn predict_from_bytes(bytes: &[u8]) -> Result<ScalarUDF> {
    let cut_off = Error::Internal {
        what: "the bytes of a head that was sent are cut off",
    };
    let parts = bytes.split_first_chunk().and_then(|(length, rest)| {
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        rest.split_at_checked(length)
    });
    let Some((json, mut weights)) = parts else {
        return Err(cut_off);
    };
    let (kind, sent): (Kind, Vec<HeadBytes>) = serde_json::from_slice(json)?;
    let mut heads = HashMap::new();
    for head in sent {
        let Some((own, rest)) = weights.split_at_checked(head.weights) else {
            return Err(cut_off);
        };
        weights = rest;
        let row = HeadRow {
            weights: Some(own.to_vec()),
            ..head.row
        };
        let ready = Ready {
            predictor: MaskPredictor::new(LoadedHead::of_row(row)?)?,
            extractors: head.extractors,
        };
        heads.insert(head.name, ready);
    }
    Ok(ScalarUDF::from(Predict::new(kind, Arc::new(Heads(heads)))))
}

/// A head that is sent; the bytes of its weights follow those of all heads.
#[derive(Serialize, Deserialize)]
struct HeadBytes {
    name: String,
    extractors: Vec<ExtractorId>,
    row: HeadRow,
    weights: usize,
}
