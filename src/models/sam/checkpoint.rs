//! Checkpoints of Segment Anything: their tensors under official names.
//!
//! In: weights as segment-anything, MobileSAM, sam2, sam3 or Hugging Face's `SamModel`, `Sam2Model` and `Sam3TrackerModel` name them.
//! Out: shapes and values by official name, the model's sizes, and the model.

use std::path::{Path, PathBuf};

use burn::tensor::Device;

use super::config::SamConfig;
use super::preprocess::{PIXEL_MEAN, PIXEL_STD};
use super::sam::Sam;
use super::sidecar::Sizes;
use super::{detect, names, official, sidecar};
use crate::device::Precision;
use crate::models::checkpoint::Weights;
use crate::models::error::{ModelError, Result};
use crate::models::family::Family;
use crate::models::weights;

/// An opened checkpoint. The list of its tensors has been read, but not their values.
#[derive(Debug)]
pub struct Checkpoint {
    weights: Weights,
    files: Vec<PathBuf>,
    /// Those that the weights do not show.
    sizes: Sizes,
}

impl Checkpoint {
    /// Opens a checkpoint: a file, whose kind is recognised by its first bytes and not by its name; a folder as Hugging
    /// Face's programs write it, including its `config.json`; or the `.index.json` of several files.
    ///
    /// # Examples
    /// ```
    /// use grainstore::models::sam::Checkpoint;
    ///
    /// # fn example() -> Result<(), grainstore::error::ModelError> {
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
    /// [`ModelError::OpenCheckpoint`] if a file cannot be read; [`ModelError::NotWeights`] and [`ModelError::ReadCheckpoint`]
    /// if it is something else or truncated; [`ModelError::CheckpointFolder`], [`ModelError::CheckpointShard`],
    /// [`ModelError::CheckpointIndex`] and [`ModelError::CheckpointConfig`] if the files do not form one checkpoint;
    /// [`ModelError::UnknownModel`], [`ModelError::OtherModel`] and [`ModelError::AmbiguousCheckpoint`] if it holds other
    /// weights or two models; [`ModelError::PixelStatistics`] if its pixel mean or standard deviation is not Segment
    /// Anything's.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let mut weights = Weights::open(
            path,
            &[Family::Sam3, Family::Sam2, Family::Sam, Family::SamHq],
        )?;
        weights.rename(names::official_names);
        let family = weights.family();
        weights.retain(|name| !detect::is_unused(family, name));
        let mut config = weights.folder_config().map(Path::to_owned);
        let sizes = match &config {
            Some(config) => sidecar::read(config, family)?,
            None => Sizes::default(),
        };
        let mut checkpoint = Self {
            files: weights.files().to_vec(),
            weights,
            sizes: Sizes::default(),
        };
        let without = checkpoint.config().ok();
        checkpoint.sizes = sizes;
        // A config that only repeats what the weights show does not distinguish models.
        config.take_if(|_| without.is_some() && checkpoint.config().ok() == without);
        checkpoint.files.extend(config);
        checkpoint.take_pixel_statistics("pixel_mean", PIXEL_MEAN)?;
        checkpoint.take_pixel_statistics("pixel_std", PIXEL_STD)?;
        Ok(checkpoint)
    }

    /// The path that was opened: a file or a folder.
    pub fn path(&self) -> &Path {
        self.weights.path()
    }

    /// The files that define the model: the weights, and a `config.json` if it adds to them.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The model's sizes, from the tensors' shapes. Sizes that shapes do not determine (the decoder's heads, the image size
    /// of a TinyViT, a Hiera or SAM 3, the heads and windows of a Hiera or SAM 3, SAM 3's epsilon) are the published ones, unless grainstore saved the file or the folder's `config.json`
    /// gives other values.
    ///
    /// # Errors
    /// [`ModelError::CheckpointTensors`] if a tensor that determines a size is missing or has another rank.
    pub fn config(&self) -> Result<SamConfig> {
        match self.weights.saved_config()? {
            Some(config) => Ok(config),
            None => {
                let mut config = detect::config(&self.weights)?;
                self.sizes.correct(&mut config);
                Ok(config)
            }
        }
    }

    /// Loads the model in f32, whatever the precision of the checkpoint.
    ///
    /// # Errors
    /// Those of [`config`](Self::config) and of [`load_as`](Self::load_as); [`ModelError::HiddenSizes`] if no published
    /// model has the sizes of this SAM 2 or 3, and nothing gives its heads and windows.
    pub fn load(&self, device: &Device) -> Result<Sam> {
        self.load_in(Precision::F32, device)
    }

    /// Loads the model with its weights rounded to a precision. The model then computes in this precision.
    ///
    /// # Errors
    /// Those of [`load`](Self::load).
    pub fn load_in(&self, precision: Precision, device: &Device) -> Result<Sam> {
        let config = self.config()?;
        if !self.weights.has_saved_config()
            && let Some(found) = self.sizes.missing_for(&config)
        {
            let path = self.path().to_owned();
            return Err(ModelError::HiddenSizes { path, found });
        }
        let model = config.init(device)?;
        weights::load(&self.weights, model, precision, &self.names_of_weights())
    }

    /// Loads a model of the given sizes in f32.
    ///
    /// # Errors
    /// [`ModelError::ModelConfig`]; [`ModelError::CheckpointTensors`] with a list of all missing, extra and mis-shaped
    /// tensors; [`ModelError::WeightNotFinite`] and [`ModelError::ReadCheckpoint`].
    pub fn load_as(&self, config: &SamConfig, device: &Device) -> Result<Sam> {
        let model = config.init(device)?;
        weights::load(
            &self.weights,
            model,
            Precision::F32,
            &self.names_of_weights(),
        )
    }

    fn names_of_weights(&self) -> official::Names {
        official::Names {
            has_point_rows: self.shape(official::POINT_ROWS).is_some(),
            has_parts_of_qkv: self.shape(official::PART_OF_QKV).is_some(),
            has_class_position: self.weights.family() == Family::Sam3
                && self
                    .shape(official::POSITIONS)
                    .and_then(|shape| shape.get(1))
                    .is_some_and(|rows| rows.isqrt().pow(2) != *rows),
        }
    }

    /// Official names of all tensors of the model, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.weights.names()
    }

    /// The shape of a tensor, if it exists.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.weights.shape(name)
    }

    /// Reads a tensor's values as f32, row-major.
    ///
    /// # Errors
    /// As [`Weights::values`].
    pub fn values(&self, name: &str) -> Result<Vec<f32>> {
        self.weights.values(name)
    }

    /// Checks and removes a buffer that is not a weight and whose values this program has built in.
    fn take_pixel_statistics(&mut self, name: &str, expected: [f32; 3]) -> Result<()> {
        let Some(tensor) = self.weights.tensors().get(name) else {
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
            return Err(ModelError::PixelStatistics {
                path: self.path().to_owned(),
                tensor: name.to_owned(),
                found,
                expected,
            });
        }
        self.weights.retain(|it| it != name);
        Ok(())
    }
}
