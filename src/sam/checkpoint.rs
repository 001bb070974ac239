//! Checkpoint files: which tensors one holds, under the official names.
//!
//! In: a `.pth` of segment-anything or MobileSAM, safetensors with the same names, or safetensors of
//! Hugging Face's `SamModel`. Out: shapes and values by official name. The pickle inside a `.pth` is
//! parsed, never executed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use burn_store::burn_pack::Tensor as StoredTensor;
use burn_store::{ModuleStore, PytorchStore, SafetensorsStore, bridge};

use super::config::SamConfig;
use super::error::{Result, SamError};
use super::hugging_face;
use super::sam::Sam;
use super::weights::TensorProblem;
use super::{detect, weights};
use crate::device::Precision;

/// Metadata entry of safetensors that holds the model's sizes as JSON, where shapes do not tell them.
pub(super) const CONFIG_KEY: &str = "grainstore.config";

/// A checkpoint that has been opened: its header is read, its values are not.
pub struct Checkpoint {
    path: PathBuf,
    tensors: BTreeMap<String, StoredTensor>,
    saved_config: Option<SamConfig>,
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoint")
            .field("path", &self.path)
            .field("tensors", &self.tensors.len())
            .finish_non_exhaustive()
    }
}

impl Checkpoint {
    /// Opens a checkpoint; the kind of file is told from its first bytes, not from its name.
    ///
    /// # Errors
    /// [`SamError::OpenCheckpoint`] when the file cannot be read; [`SamError::ReadCheckpoint`] when it is
    /// neither kind of file, or cut off; [`SamError::NotSamCheckpoint`] when it holds other weights.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (tensors, saved_config) = if is_safetensors(path)? {
            let mut store = SafetensorsStore::from_file(path);
            (tensors_of(path, &mut store)?, saved_config(path)?)
        } else {
            let mut store = PytorchStore::from_file(path).map_indices_contiguous(false);
            (tensors_of(path, &mut store)?, None)
        };
        let tensors = hugging_face::official_names(tensors);
        let unread = |name: &String| detect::is_unused(name);
        let tensors: BTreeMap<_, _> = tensors
            .into_iter()
            .filter(|(name, _)| !unread(name))
            .collect();
        if !tensors.contains_key(detect::ALWAYS_PRESENT) {
            return Err(SamError::NotSamCheckpoint {
                path: path.to_owned(),
                tensors: tensors.len(),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            tensors,
            saved_config,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The model's sizes, from the tensors' shapes; sizes that shapes do not tell (the decoder's heads,
    /// a TinyViT's image size) are the published ones, unless grainstore saved the file.
    ///
    /// # Errors
    /// [`SamError::CheckpointTensors`] when a tensor that tells a size is missing or has another rank.
    pub fn config(&self) -> Result<SamConfig> {
        match &self.saved_config {
            Some(config) => Ok(config.clone()),
            None => detect::config(self),
        }
    }

    /// Loads the model in f32, whatever the precision of the checkpoint.
    ///
    /// # Errors
    /// Those of [`config`](Self::config) and of [`load_as`](Self::load_as).
    pub fn load(&self, device: &Device) -> Result<Sam> {
        self.load_in(Precision::F32, device)
    }

    /// Loads the model with its weights rounded to a precision, in which it then computes.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_in(&self, precision: Precision, device: &Device) -> Result<Sam> {
        weights::load(self, self.config()?.init(device)?, precision)
    }

    /// Loads a model of given sizes in f32.
    ///
    /// # Errors
    /// [`SamError::ModelConfig`]; [`SamError::CheckpointTensors`], listing every missing, extra and mis-shaped
    /// tensor; [`SamError::WeightNotFinite`] and [`SamError::ReadCheckpoint`].
    pub fn load_as(&self, config: &SamConfig, device: &Device) -> Result<Sam> {
        weights::load(self, config.init(device)?, Precision::F32)
    }

    /// Official names of all tensors a model is made of, in alphabetic order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The shape of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|tensor| tensor.shape.as_slice())
    }

    /// Reads a tensor's values as f32, row-major.
    ///
    /// # Errors
    /// [`SamError::CheckpointTensors`] if there is no such tensor; [`SamError::ReadCheckpoint`];
    /// [`SamError::WeightType`] unless the tensor holds floats; [`SamError::WeightNotFinite`] for NaN and infinity.
    pub fn values(&self, name: &str) -> Result<Vec<f32>> {
        let Some(tensor) = self.tensors.get(name) else {
            let problem = TensorProblem::Missing {
                tensor: name.to_owned(),
                expected: None,
            };
            return Err(SamError::CheckpointTensors {
                path: self.path.clone(),
                problems: vec![problem.to_string()],
            });
        };
        if !matches!(
            tensor.dtype,
            DType::F64 | DType::F32 | DType::F16 | DType::BF16
        ) {
            return Err(SamError::WeightType {
                path: self.path.clone(),
                tensor: name.to_owned(),
                found: format!("{:?}", tensor.dtype),
            });
        }
        let data = bridge::to_data(tensor).map_err(|source| self.unreadable(source))?;
        let values: Vec<f32> = data.iter::<f32>().collect();
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(index) => Err(SamError::WeightNotFinite {
                path: self.path.clone(),
                tensor: name.to_owned(),
                index,
            }),
        }
    }

    /// All tensors, by official name.
    pub(super) fn tensors(&self) -> &BTreeMap<String, StoredTensor> {
        &self.tensors
    }

    fn unreadable(&self, source: impl std::error::Error + Send + Sync + 'static) -> SamError {
        unreadable(&self.path, source)
    }
}

fn unreadable(path: &Path, source: impl std::error::Error + Send + Sync + 'static) -> SamError {
    SamError::ReadCheckpoint {
        path: path.to_owned(),
        source: Box::new(source),
    }
}

fn tensors_of<S>(path: &Path, store: &mut S) -> Result<BTreeMap<String, StoredTensor>>
where
    S: ModuleStore,
    S::Error: std::error::Error + Send + Sync + 'static,
{
    let tensors = store.get_all_tensors();
    Ok(tensors.map_err(|source| unreadable(path, source))?.clone())
}

/// Whether a file opens as safetensors do: the length of a JSON header, then the header.
fn is_safetensors(path: &Path) -> Result<bool> {
    let mut start = [0u8; 9];
    let failed = |source| SamError::OpenCheckpoint {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(failed)?;
    let mut filled = 0;
    while let Some(rest) = start.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest).map_err(failed)? {
            0 => return Ok(false),
            count => filled += count,
        }
    }
    Ok(start[8] == b'{')
}

/// The sizes grainstore writes beside weights it saves.
fn saved_config(path: &Path) -> Result<Option<SamConfig>> {
    let failed = |source| SamError::OpenCheckpoint {
        path: path.to_owned(),
        source,
    };
    // The header alone: eight bytes of length, then that much JSON, within the file.
    let mut file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let mut length = [0u8; 8];
    file.read_exact(&mut length).map_err(failed)?;
    let length = u64::from_le_bytes(length).min(size.saturating_sub(8));
    let header: serde_json::Map<String, serde_json::Value> =
        serde_json::from_reader(file.take(length)).map_err(|source| unreadable(path, source))?;
    let saved = header
        .get("__metadata__")
        .and_then(|it| it.get(CONFIG_KEY)?.as_str());
    saved
        .map(|json| serde_json::from_str(json).map_err(|source| unreadable(path, source)))
        .transpose()
}
