//! CLIP: images and texts as vectors of one space (Radford et al., "Learning Transferable Visual Models From Natural
//! Language Supervision").
//!
//! In: normalised pixels; texts. Out: vectors, not normalised. Weights are those of open_clip (or OpenAI's, converted)
//! or of Hugging Face's `CLIPModel`, with both towers or one.
//!
//! ```text
//! pixels --ImageTower--> [batch, dim]           text --Tokenizer--> ids --TextTower--> [texts, dim]
//! ```

#[allow(clippy::module_inception)] // upstream's name
mod clip;
mod config;
mod image_tower;
mod names;
mod text_tower;
mod tokenizer;

pub use clip::Clip;
pub use config::{ClipConfig, ImageTowerConfig, TextTowerConfig};
pub use image_tower::ImageTower;
pub use text_tower::TextTower;
pub use tokenizer::Tokenizer;
