//! Stable Diffusion in this program: v1-4, v1-5, 2.x and Turbo (SD-Turbo), from a folder as `diffusers` writes it.
//!
//! In: the folder (`text_encoder/`, `unet/`, `vae/`, `scheduler/`, each with its configuration and weights in safetensors),
//! a prompt and a seed. Out: the pixels of an image. UNet and VAE are those of `candle-transformers`; the text encoder and
//! the sampler are here. Sampling is DDIM without noise (Song et al., ICLR 2021), which takes the same steps as `diffusers`'
//! `DDIMScheduler` of the folder's configuration. A seed gives other images than in PyTorch, whose random numbers differ.

mod config;
mod pipeline;
mod sampler;
mod text;

use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Map, Value, json};

pub use pipeline::DiffusionOptions;
use pipeline::Pipeline;

use super::{Generator, Picture, Prompt};
use crate::error::CollectError;
use crate::task::blocking;
use crate::{Error, Result};

const NAME: &str = "stable diffusion";

/// The generator.
pub struct StableDiffusion {
    pipeline: Arc<Mutex<Pipeline>>,
    settings: Map<String, Value>,
}

impl StableDiffusion {
    /// Loads the models of a folder.
    ///
    /// # Errors
    /// [`CollectError::Generator`] for a folder that is none of `diffusers`, or of a model that is not supported.
    pub fn load(folder: &Path, options: DiffusionOptions) -> Result<Self> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let mut settings = Map::new();
        settings.insert("model".to_owned(), json!(name));
        settings.insert("width".to_owned(), json!(options.width));
        settings.insert("height".to_owned(), json!(options.height));
        settings.insert("steps".to_owned(), json!(options.steps));
        settings.insert("guidance".to_owned(), json!(options.guidance));
        if !options.negative_prompt.is_empty() {
            let negative = json!(options.negative_prompt);
            settings.insert("negative_prompt".to_owned(), negative);
        }
        let pipeline = Pipeline::load(folder, options)?;
        Ok(Self {
            pipeline: Arc::new(Mutex::new(pipeline)),
            settings,
        })
    }
}

/// The error of a reason.
fn failed(reason: impl Into<String>) -> Error {
    CollectError::Generator {
        generator: NAME,
        reason: reason.into(),
    }
    .into()
}

/// The error of a tensor operation.
fn of_candle(err: candle_core::Error) -> Error {
    failed(err.to_string())
}

#[async_trait]
impl Generator for StableDiffusion {
    fn name(&self) -> &'static str {
        NAME
    }

    fn settings(&self) -> Map<String, Value> {
        self.settings.clone()
    }

    async fn prepare(&self, _labels: &[&str]) -> Result<()> {
        Ok(())
    }

    async fn generate(&self, prompt: &Prompt) -> Result<Picture> {
        let (pipeline, prompt) = (self.pipeline.clone(), prompt.clone());
        blocking("making an image", move || {
            let pipeline = pipeline.lock().unwrap_or_else(|err| err.into_inner());
            let photo = pipeline.generate(&prompt.text, prompt.seed)?;
            let mut bytes = std::io::Cursor::new(Vec::new());
            let written = photo.write_to(&mut bytes, image::ImageFormat::Png);
            written.map_err(|err| failed(format!("the image cannot be encoded: {err}")))?;
            Ok(bytes.into_inner())
        })
        .await
    }
}
