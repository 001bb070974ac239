//! DINOv2: a vector for each patch of an image, and one for the image (Oquab et al., "DINOv2: Learning Robust Visual
//! Features without Supervision"; with registers: Darcet et al., "Vision Transformers Need Registers").
//!
//! In: normalised pixels whose sides are multiples of the patch. Out: normalised patch and class tokens. Weights are
//! those of facebookresearch/dinov2 or of Hugging Face's `Dinov2Model` and `Dinov2WithRegistersModel`.

mod config;
mod load;
mod names;
mod vit;

pub use config::DinoConfig;
pub use vit::{Dino, DinoOutput};
