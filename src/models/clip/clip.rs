//! The complete model: two towers into one space.

use burn::module::Module;
use burn::tensor::Device;

use super::config::ClipConfig;
use super::image_tower::ImageTower;
use super::names::{Layout, Names, is_unused};
use super::text_tower::TextTower;
use crate::device::Precision;
use crate::models::checkpoint::Weights;
use crate::models::error::Result;
use crate::models::layers::Activation;
use crate::models::weights;

/// Factor on similarities in files that do not say: `ln 100`, the limit that upstream sets in training.
const LOGIT_SCALE: f64 = 4.605_170_185_988_092;

/// CLIP.
#[derive(Module, Debug)]
pub struct Clip {
    /// The image tower, if the file held one.
    pub visual: Option<ImageTower>,
    /// The text tower, if the file held one.
    pub text: Option<TextTower>,
    logit_scale: f64,
    #[module(skip)]
    config: ClipConfig,
}

impl Clip {
    /// Loads the model of a file, with its weights rounded to a precision; `activation` overrides a config beside it.
    ///
    /// # Errors
    /// Those of [`ClipConfig::of`]; [`crate::error::ModelError::CheckpointTensors`] with a list of all missing, extra and
    /// mis-shaped tensors; [`crate::error::ModelError::WeightNotFinite`] and
    /// [`crate::error::ModelError::ReadCheckpoint`].
    pub fn load(
        mut weights: Weights,
        activation: Option<Activation>,
        precision: Precision,
        device: &Device,
    ) -> Result<Self> {
        let config = ClipConfig::of(&weights, activation)?;
        let logit_scale = match weights.shape("logit_scale") {
            Some(_) => weights.values("logit_scale")?.first().copied(),
            None => None,
        };
        weights.retain(|name| !is_unused(name));
        let names = Names(Layout::of(&weights));
        let model = Self {
            visual: config
                .image
                .as_ref()
                .map(|tower| ImageTower::new(&config, tower, device)),
            text: config
                .text
                .as_ref()
                .map(|tower| TextTower::new(&config, tower, device)),
            logit_scale: logit_scale.map_or(LOGIT_SCALE, f64::from),
            config,
        };
        weights::load(&weights, model, precision, &names)
    }

    /// The sizes that this model was built with.
    pub fn config(&self) -> &ClipConfig {
        &self.config
    }

    /// Factor on the cosine of an image and a text, before the softmax over texts.
    pub fn similarity_factor(&self) -> f64 {
        self.logit_scale.exp()
    }
}
