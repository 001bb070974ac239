//! Files of weights: the tensors of one model, without the prefixes that training programs add to their names.
//!
//! In: a `.pth` or `.pt`, or safetensors, in one file or several, as upstream or Hugging Face's programs write them.
//! Out: the model's family, and shapes and values by name. The pickle inside a `.pth` is parsed, never executed.
//!
//! ```text
//! path --files--> files --read--> tensors --prefix--> the model's own tensors and its family
//! ```

mod files;
mod inspect;
mod prefix;
mod read;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::DType;
use burn_store::bridge;
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::files::CheckpointFiles;
pub(super) use self::files::read_text;
use self::read::unreadable;
pub(super) use self::read::{CONFIG_KEY, Tensors};
use super::error::{ModelError, Result};
use super::family::Family;
use super::tensor_problem::TensorProblem;

/// Limit on the size of a config. Those of published models take 1 KB.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// An opened file of weights. The list of its tensors has been read, but not their values.
pub struct Weights {
    path: PathBuf,
    files: Vec<PathBuf>,
    folder_config: Option<PathBuf>,
    family: Family,
    tensors: Tensors,
    saved_config: Option<Value>,
}

impl std::fmt::Debug for Weights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Weights")
            .field("path", &self.path)
            .field("family", &self.family)
            .field("tensors", &self.tensors.len())
            .finish_non_exhaustive()
    }
}

impl Weights {
    /// Opens weights of one of the wanted families: a file, whose kind is recognised by its first bytes and not by its
    /// name; a folder as Hugging Face's programs write it; or the `.index.json` of several files.
    ///
    /// # Errors
    /// [`ModelError::OpenCheckpoint`] if a file cannot be read; [`ModelError::NotWeights`] and
    /// [`ModelError::ReadCheckpoint`] if it is something else or truncated; [`ModelError::CheckpointFolder`],
    /// [`ModelError::CheckpointShard`] and [`ModelError::CheckpointIndex`] if the files do not form one checkpoint;
    /// [`ModelError::UnknownModel`], [`ModelError::OtherModel`] and [`ModelError::AmbiguousCheckpoint`] if it holds
    /// other weights or two models.
    pub fn open(path: impl AsRef<Path>, wanted: &[Family]) -> Result<Self> {
        let path = path.as_ref();
        let found = files::find(path)?;
        let (tensors, saved_config) = read_all(&found)?;
        let (family, tensors) = prefix::model_tensors(path, tensors, wanted)?;
        Ok(Self {
            path: path.to_owned(),
            files: found.weights,
            folder_config: found.config,
            family,
            tensors,
            saved_config,
        })
    }

    /// The path that was opened: a file or a folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files that hold the weights.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The family of the model.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Names of all tensors of the model, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The shape of a tensor, if it exists.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|tensor| tensor.shape.as_slice())
    }

    /// The shape of a tensor of rank `N`.
    ///
    /// # Errors
    /// [`ModelError::CheckpointTensors`] if the tensor is missing or has another rank.
    pub(super) fn shape_of<const N: usize>(&self, name: &str) -> Result<[usize; N]> {
        let found = self.shape(name);
        let shape = found.and_then(|shape| shape.try_into().ok());
        shape.ok_or_else(|| {
            let tensor = name.to_owned();
            self.problem(match found {
                None => TensorProblem::Missing {
                    tensor,
                    expected: None,
                },
                Some(shape) => TensorProblem::Rank {
                    tensor,
                    expected: N,
                    found: shape.to_vec(),
                },
            })
        })
    }

    /// Number of numbered children of a prefix, whose numbers start at 0.
    pub(super) fn children(&self, prefix: &str) -> usize {
        let next = self.names().filter_map(|name| {
            let (number, _) = name.strip_prefix(prefix)?.split_once('.')?;
            Some(number.parse::<usize>().ok()?.saturating_add(1))
        });
        // Names may contain any number, but there are never more layers than tensors.
        next.max().unwrap_or(0).min(self.names().count())
    }

    /// Reads a tensor's values as f32, row-major.
    ///
    /// # Errors
    /// [`ModelError::CheckpointTensors`] if the tensor does not exist; [`ModelError::ReadCheckpoint`];
    /// [`ModelError::WeightType`] unless the tensor holds floats; [`ModelError::WeightNotFinite`] for NaN and infinity.
    pub fn values(&self, name: &str) -> Result<Vec<f32>> {
        let Some(tensor) = self.tensors.get(name) else {
            return Err(self.problem(TensorProblem::Missing {
                tensor: name.to_owned(),
                expected: None,
            }));
        };
        if !matches!(
            tensor.dtype,
            DType::F64 | DType::F32 | DType::F16 | DType::BF16
        ) {
            return Err(ModelError::WeightType {
                path: self.path.clone(),
                tensor: name.to_owned(),
                found: format!("{:?}", tensor.dtype),
            });
        }
        let data = bridge::to_data(tensor).map_err(|source| unreadable(&self.path, source))?;
        let values: Vec<f32> = data.iter::<f32>().collect();
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(index) => Err(ModelError::WeightNotFinite {
                path: self.path.clone(),
                tensor: name.to_owned(),
                index,
            }),
        }
    }

    /// All tensors, by name.
    pub(super) fn tensors(&self) -> &Tensors {
        &self.tensors
    }

    /// Replaces the tensors' names.
    pub(super) fn rename(&mut self, names: impl FnOnce(Tensors) -> Tensors) {
        self.tensors = names(std::mem::take(&mut self.tensors));
    }

    /// Leaves out the tensors of which a name is not one to keep.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.tensors.retain(|name, _| keep(name));
    }

    /// The `config.json` of the folder that was opened, if it has one.
    pub(super) fn folder_config(&self) -> Option<&Path> {
        self.folder_config.as_deref()
    }

    /// The content of the first of the named files that stands beside the weights, and its path.
    ///
    /// # Errors
    /// [`ModelError::OpenCheckpoint`]; [`ModelError::CheckpointConfig`] if it is not such a config.
    pub(super) fn beside<T: DeserializeOwned>(&self, name: &str) -> Result<Option<(PathBuf, T)>> {
        let folder = if self.path.is_dir() {
            self.path.as_path()
        } else {
            self.path.parent().unwrap_or(Path::new(""))
        };
        let path = folder.join(name);
        if !path.is_file() {
            return Ok(None);
        }
        let text = read_text(&path, MAX_CONFIG_BYTES)?;
        match serde_json::from_str(&text) {
            Ok(config) => Ok(Some((path, config))),
            Err(err) => Err(ModelError::CheckpointConfig {
                path,
                reason: format!("expected JSON: {err}"),
            }),
        }
    }

    /// The sizes that grainstore saved with the weights, if it did.
    ///
    /// # Errors
    /// [`ModelError::ReadCheckpoint`] if they are of another model.
    pub(super) fn saved_config<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        let config = self.saved_config.clone().map(serde_json::from_value);
        config
            .transpose()
            .map_err(|source| unreadable(&self.path, source))
    }

    /// Whether grainstore saved sizes with the weights.
    pub(super) const fn has_saved_config(&self) -> bool {
        self.saved_config.is_some()
    }

    /// The error for one tensor that does not fit.
    pub(super) fn problem(&self, problem: TensorProblem) -> ModelError {
        ModelError::CheckpointTensors {
            path: self.path.clone(),
            problems: vec![problem.to_string()],
        }
    }
}

/// Reads the tensors of all weight files, under the names they have there.
fn read_all(files: &CheckpointFiles) -> Result<(Tensors, Option<Value>)> {
    let mut all = Tensors::new();
    let mut saved_config = None;
    let mut file_of: BTreeMap<String, &Path> = BTreeMap::new();
    for path in &files.weights {
        let content = read::read(path)?;
        saved_config = saved_config.or(content.saved_config);
        for (name, tensor) in content.tensors {
            if let Some(other) = file_of.insert(name.clone(), path) {
                return Err(ModelError::CheckpointIndex {
                    path: path.clone(),
                    reason: format!("tensor '{name}' is in '{}' too", other.display()),
                });
            }
            all.insert(name, tensor);
        }
    }
    for (name, path) in &files.index {
        if file_of.get(name) != Some(&path.as_path()) {
            return Err(ModelError::CheckpointIndex {
                path: path.clone(),
                reason: format!(
                    "the index says that tensor '{name}' is in it, and it is not; fetch both again"
                ),
            });
        }
    }
    Ok((all, saved_config))
}
