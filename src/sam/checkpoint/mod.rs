//! Checkpoints: the tensors in a checkpoint, under their official names.
//!
//! In: a `.pth` of segment-anything or MobileSAM, or what training programs make of it; safetensors with the same
//! names; or Hugging Face's `SamModel`; each in one file or several. Out: shapes and values by official name. The
//! pickle inside a `.pth` is parsed, never executed.
//!
//! ```text
//! path --files--> files --read--> tensors --prefix--> model's own --hugging_face--> official names
//! ```

mod files;
mod inspect;
mod prefix;
mod read;
mod sidecar;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use burn_store::bridge;

use self::files::CheckpointFiles;
pub(super) use self::read::CONFIG_KEY;
use self::read::{Tensors, unreadable};
use super::config::{DecoderConfig, SamConfig};
use super::error::{Result, SamError};
use super::preprocess::{PIXEL_MEAN, PIXEL_STD};
use super::sam::Sam;
use super::weights::TensorProblem;
use super::{detect, hugging_face, weights};
use crate::device::Precision;

/// An opened checkpoint. The list of its tensors has been read, but not their values.
pub struct Checkpoint {
    path: PathBuf,
    files: Vec<PathBuf>,
    tensors: Tensors,
    saved_config: Option<SamConfig>,
    decoder_heads: usize,
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
    /// Opens a checkpoint: a file, whose kind is recognised by its first bytes and not by its name; a folder as Hugging
    /// Face's programs write it, including its `config.json`; or the `.index.json` of several files.
    ///
    /// # Examples
    /// ```
    /// use grainstore::sam::Checkpoint;
    ///
    /// # fn example() -> Result<(), grainstore::error::SamError> {
    /// let checkpoint = Checkpoint::open("sam_vit_b_01ec64.pth")?;
    /// let config = checkpoint.config()?;
    /// println!("{} tensors", checkpoint.names().count());
    /// println!("images of {0} x {0} pixels", config.image_size);
    /// println!("embeddings of {} numbers", config.decoder.mask_tokens() * config.prompt_dim);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SamError::OpenCheckpoint`] if a file cannot be read; [`SamError::NotWeights`] and [`SamError::ReadCheckpoint`]
    /// if it is something else or truncated; [`SamError::CheckpointFolder`], [`SamError::CheckpointShard`],
    /// [`SamError::CheckpointIndex`] and [`SamError::CheckpointConfig`] if the files do not form one checkpoint;
    /// [`SamError::NotSamCheckpoint`], [`SamError::OtherModel`] and [`SamError::AmbiguousCheckpoint`] if it holds other
    /// weights or two models; [`SamError::PixelStatistics`] if its pixel mean or standard deviation is not Segment
    /// Anything's.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut found = files::find(path)?;
        let (tensors, saved_config) = read_all(&found)?;
        let tensors = prefix::model_tensors(path, tensors)?;
        let mut tensors = hugging_face::official_names(tensors);
        tensors.retain(|name, _| !detect::is_unused(name));
        let published = DecoderConfig::default().heads;
        let heads = match &found.config {
            Some(config) => sidecar::decoder_heads(config)?.unwrap_or(published),
            None => published,
        };
        // A config that only repeats the default does not distinguish models.
        found.config.take_if(|_| heads == published);
        let mut checkpoint = Self {
            path: path.to_owned(),
            files: found.weights.into_iter().chain(found.config).collect(),
            tensors,
            saved_config,
            decoder_heads: heads,
        };
        checkpoint.take_pixel_statistics("pixel_mean", PIXEL_MEAN)?;
        checkpoint.take_pixel_statistics("pixel_std", PIXEL_STD)?;
        Ok(checkpoint)
    }

    /// The path that was opened: a file or a folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files that define the model: the weights, and a `config.json` if it adds to them.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The model's sizes, from the tensors' shapes. Sizes that shapes do not determine (the decoder's heads, a
    /// TinyViT's image size) are the published ones, unless grainstore saved the file or the folder's `config.json`
    /// gives other values.
    ///
    /// # Errors
    /// [`SamError::CheckpointTensors`] if a tensor that determines a size is missing or has another rank.
    pub fn config(&self) -> Result<SamConfig> {
        match &self.saved_config {
            Some(config) => Ok(config.clone()),
            None => {
                let mut config = detect::config(self)?;
                config.decoder.heads = self.decoder_heads;
                Ok(config)
            }
        }
    }

    /// Loads the model in f32, whatever the precision of the checkpoint.
    ///
    /// # Errors
    /// Those of [`config`](Self::config) and of [`load_as`](Self::load_as).
    pub fn load(&self, device: &Device) -> Result<Sam> {
        self.load_in(Precision::F32, device)
    }

    /// Loads the model with its weights rounded to a precision. The model then computes in this precision.
    ///
    /// # Errors
    /// Those of [`load`](Self::load).
    pub fn load_in(&self, precision: Precision, device: &Device) -> Result<Sam> {
        weights::load(self, self.config()?.init(device)?, precision)
    }

    /// Loads a model of the given sizes in f32.
    ///
    /// # Errors
    /// [`SamError::ModelConfig`]; [`SamError::CheckpointTensors`] with a list of all missing, extra and mis-shaped
    /// tensors; [`SamError::WeightNotFinite`] and [`SamError::ReadCheckpoint`].
    pub fn load_as(&self, config: &SamConfig, device: &Device) -> Result<Sam> {
        weights::load(self, config.init(device)?, Precision::F32)
    }

    /// Official names of all tensors of the model, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The shape of a tensor, if it exists.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|tensor| tensor.shape.as_slice())
    }

    /// Reads a tensor's values as f32, row-major.
    ///
    /// # Errors
    /// [`SamError::CheckpointTensors`] if the tensor does not exist; [`SamError::ReadCheckpoint`];
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
        let data = bridge::to_data(tensor).map_err(|source| unreadable(&self.path, source))?;
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
    pub(super) fn tensors(&self) -> &Tensors {
        &self.tensors
    }

    /// Checks and removes a buffer that is not a weight and whose values this program has built in.
    fn take_pixel_statistics(&mut self, name: &str, expected: [f32; 3]) -> Result<()> {
        let Some(tensor) = self.tensors.get(name) else {
            return Ok(());
        };
        let mut sides = tensor.shape.iter();
        let found = match sides.try_fold(1usize, |count, side| count.checked_mul(*side)) {
            Some(3) => self.values(name)?,
            _ => Vec::new(),
        };
        // In 16 bits, 123.675 is off by up to 0.25. Some models keep pixels in [0, 1] instead of [0, 255].
        let is_near = |scale: f32| {
            let pairs = found.iter().zip(expected);
            found.len() == 3 && pairs.into_iter().all(|(x, y)| (x * scale - y).abs() <= 0.3)
        };
        if !is_near(1.0) && !is_near(255.0) {
            return Err(SamError::PixelStatistics {
                path: self.path.clone(),
                tensor: name.to_owned(),
                found,
                expected,
            });
        }
        self.tensors.remove(name);
        Ok(())
    }
}

/// Reads the tensors of all weight files, under the names they have there.
fn read_all(files: &CheckpointFiles) -> Result<(Tensors, Option<SamConfig>)> {
    let mut all = Tensors::new();
    let mut saved_config = None;
    let mut file_of: BTreeMap<String, &Path> = BTreeMap::new();
    for path in &files.weights {
        let content = read::read(path)?;
        saved_config = saved_config.or(content.saved_config);
        for (name, tensor) in content.tensors {
            if let Some(other) = file_of.insert(name.clone(), path) {
                return Err(SamError::CheckpointIndex {
                    path: path.clone(),
                    reason: format!("tensor '{name}' is in '{}' too", other.display()),
                });
            }
            all.insert(name, tensor);
        }
    }
    for (name, path) in &files.index {
        if file_of.get(name) != Some(&path.as_path()) {
            return Err(SamError::CheckpointIndex {
                path: path.clone(),
                reason: format!(
                    "the index says that tensor '{name}' is in it, and it is not; fetch both again"
                ),
            });
        }
    }
    Ok((all, saved_config))
}
