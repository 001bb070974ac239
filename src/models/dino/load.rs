//! Loads DINOv2 from a file of weights.

use burn::tensor::Device;

use super::config::DinoConfig;
use super::names::{Layout, Names, is_unused};
use super::vit::Dino;
use crate::device::Precision;
use crate::models::checkpoint::Weights;
use crate::models::error::Result;
use crate::models::weights;

impl Dino {
    /// Loads the model of a file, with its weights rounded to a precision.
    ///
    /// # Errors
    /// Those of [`DinoConfig::of`]; [`crate::error::ModelError::CheckpointTensors`] with a list of all missing, extra and mis-shaped
    /// tensors; [`crate::error::ModelError::WeightNotFinite`] and [`crate::error::ModelError::ReadCheckpoint`].
    pub fn load(mut weights: Weights, precision: Precision, device: &Device) -> Result<Self> {
        let config = DinoConfig::of(&weights)?;
        weights.retain(|name| !is_unused(name));
        let names = Names(Layout::of(&weights));
        weights::load(&weights, Self::new(&config, device), precision, &names)
    }
}
