//! What makes images of prompts: a server, a program, or scenes that are drawn.

mod automatic1111;
mod command;
#[cfg(feature = "diffusion")]
mod diffusion;
mod scenes;

use async_trait::async_trait;
use serde_json::{Map, Value};

pub use automatic1111::Automatic1111;
pub use command::CommandGenerator;
#[cfg(feature = "diffusion")]
pub use diffusion::{DiffusionOptions, StableDiffusion};
pub use scenes::SceneDrawer;

use crate::Result;

/// An image to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The words.
    pub text: String,
    /// Seed of the image, below 2^31.
    pub seed: u32,
    /// The label that it gets.
    pub label: String,
    /// The class.
    pub class: String,
}

/// Bytes of an image file.
pub type Picture = Vec<u8>;

/// A generator of images.
#[async_trait]
pub trait Generator: Send + Sync {
    /// Its name in manifests.
    fn name(&self) -> &'static str;

    /// What else decides about its images; kept with each of them.
    fn settings(&self) -> Map<String, Value>;

    /// Checks that it can work, before anything is made.
    ///
    /// # Errors
    /// [`crate::error::CollectError`].
    async fn prepare(&self, labels: &[&str]) -> Result<()>;

    /// Makes one image: the bytes of a file in a format that is read.
    ///
    /// # Errors
    /// [`crate::error::CollectError`].
    async fn generate(&self, prompt: &Prompt) -> Result<Picture>;
}
