//! Reads the tensors of one file, under the names they have there.
//!
//! In: a PyTorch or safetensors file. Out: its tensors, whose values are read later, and the sizes that grainstore
//! saved with them. The pickle inside a `.pth` is parsed, never executed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use burn_store::burn_pack::Tensor as StoredTensor;
use burn_store::pytorch::{PickleError, PytorchError};
use burn_store::{ModuleStore, PytorchStore, PytorchStoreError, SafetensorsStore};
use serde_json::{Map, Value};

use super::files::cannot_open;
use super::inspect::{Format, Start, not_weights};
use crate::error::NotWeights;
use crate::models::error::{ModelError, Result};

/// Metadata key of safetensors for the model's sizes as JSON, needed where shapes do not determine them.
pub(in crate::models) const CONFIG_KEY: &str = "grainstore.config";

/// Tensors by name.
pub(in crate::models) type Tensors = BTreeMap<String, StoredTensor>;

/// The content of one file.
pub(super) struct FileContent {
    pub tensors: Tensors,
    pub saved_config: Option<Value>,
}

/// Reads the list of a file's tensors; their values stay in the file.
///
/// # Errors
/// [`ModelError::OpenCheckpoint`], [`ModelError::NotWeights`], [`ModelError::ReadCheckpoint`].
pub(super) fn read(path: &Path) -> Result<FileContent> {
    let start = Start::read(path)?;
    match start.format().map_err(not_weights(path))? {
        Format::Safetensors => safetensors(path, &start),
        Format::Pytorch => Ok(FileContent {
            tensors: pytorch(path, &start)?,
            saved_config: None,
        }),
    }
}

pub(super) fn unreadable(
    path: &Path,
    source: impl std::error::Error + Send + Sync + 'static,
) -> ModelError {
    ModelError::ReadCheckpoint {
        path: path.to_owned(),
        source: Box::new(source),
    }
}

fn pytorch(path: &Path, start: &Start) -> Result<Tensors> {
    // Indices of layers must stay as they are: names refer to the numbers in a `Sequential`.
    let mut store = PytorchStore::from_file(path).map_indices_contiguous(false);
    let err = match store.get_all_tensors() {
        Ok(tensors) => return Ok(tensors.clone()),
        Err(err) => err,
    };
    let kind = match start
        .not_text()
        .err()
        .or_else(|| refused_by_reader(&err, start))
    {
        Some(kind) => Some(kind),
        None => start.refused(path)?,
    };
    Err(match kind {
        Some(kind) => not_weights(path)(kind),
        None => unreadable(path, err),
    })
}

/// What a file is, according to the reader's error.
fn refused_by_reader(err: &PytorchStoreError, start: &Start) -> Option<NotWeights> {
    let PytorchStoreError::Reader(err) = err else {
        return None;
    };
    let cut = NotWeights::Cut {
        expected: None,
        found: start.size(),
    };
    match err {
        PytorchError::Pickle(PickleError::UnsupportedType(class)) => {
            Some(if class.starts_with("__torch__") {
                NotWeights::TorchScript
            } else {
                NotWeights::PythonObject {
                    class: class.clone(),
                }
            })
        }
        PytorchError::Pickle(PickleError::Io(err)) | PytorchError::Io(err)
            if err.kind() == ErrorKind::UnexpectedEof =>
        {
            Some(cut)
        }
        PytorchError::InvalidFormat(reason) if reason.contains("beyond the end of the file") => {
            Some(cut)
        }
        PytorchError::InvalidFormat(reason) if reason.starts_with("No data.pkl") => {
            Some(NotWeights::Archive { format: "ZIP" })
        }
        _ => None,
    }
}

fn safetensors(path: &Path, start: &Start) -> Result<FileContent> {
    let header = header(path)?;
    let end = header.values().filter_map(end_of_tensor).max().unwrap_or(0);
    let expected = start.safetensors_data().saturating_add(end);
    if expected > start.size() {
        return Err(not_weights(path)(NotWeights::Cut {
            expected: Some(expected),
            found: start.size(),
        }));
    }
    let saved = header
        .get("__metadata__")
        .and_then(|it| it.get(CONFIG_KEY)?.as_str());
    let saved_config = saved
        .map(|json| serde_json::from_str(json).map_err(|source| unreadable(path, source)))
        .transpose()?;
    let mut store = SafetensorsStore::from_file(path);
    let tensors = store.get_all_tensors();
    let tensors = tensors.map_err(|source| unreadable(path, source))?.clone();
    Ok(FileContent {
        tensors,
        saved_config,
    })
}

/// Offset of the end of a tensor's values, counted from the end of the header.
fn end_of_tensor(entry: &Value) -> Option<u64> {
    entry.get("data_offsets")?.get(1)?.as_u64()
}

/// Reads only the header: eight bytes with its length, then that much JSON, within the file.
fn header(path: &Path) -> Result<Map<String, Value>> {
    let mut file = File::open(path).map_err(cannot_open(path))?;
    let size = file.metadata().map_err(cannot_open(path))?.len();
    let mut length = [0u8; 8];
    file.read_exact(&mut length).map_err(cannot_open(path))?;
    let length = u64::from_le_bytes(length).min(size.saturating_sub(8));
    let mut text = Vec::new();
    let read = file.take(length).read_to_end(&mut text);
    read.map_err(cannot_open(path))?;
    serde_json::from_slice(&text).map_err(|source| unreadable(path, source))
}
