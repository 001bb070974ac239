//! Segment Anything, SAM 2 and SAM 3's tracker in burn: from pixels and prompts to masks, predicted IoU and mask tokens.
//!
//! In: RGB bytes, prompts, a checkpoint. Out: tensors, and single masks at the original size. This module works on
//! tensors only and does not depend on stores, image files or point grids. Files and weights are named as upstream
//! (github.com/facebookresearch/segment-anything; the encoders of SAM 2 and 3 as github.com/facebookresearch/sam2 and sam3).
//!
//! ```text
//! PreparedImage --Sam::encode_image--> ImageEmbedding --Sam::decode(prompts)--> DecoderOutput
//! DecoderOutput.masks --MaskUpscaler--> logits at the original size
//! ```
//!
//! [`SamPredictor`] does all of this in one call: it returns the mask for a click or a box.

mod absorbed_attention;
mod cell_tiles;
mod checkpoint;
mod config;
mod decoder_attention;
mod decoder_mlp;
mod detect;
mod hiera;
mod hiera_block;
mod hiera_config;
mod hq_decoder;
mod image_embedding;
mod image_encoder;
mod mask_decoder;
mod names;
mod official;
mod postprocess;
mod predictor;
mod preprocess;
mod prompt_encoder;
#[allow(clippy::module_inception)] // upstream's name
mod sam;
mod sam2_names;
mod sam3_block;
mod sam3_config;
mod sam3_encoder;
mod sam3_names;
mod sidecar;
mod sizes;
mod tiny_vit;
mod tiny_vit_block;
mod tiny_vit_conv;
mod transformer;
mod upscaling;

pub use super::weights::WeightPrecision;
pub use checkpoint::Checkpoint;
pub use config::{DecoderConfig, EncoderConfig, ModelType, PATCH_SIZE, SamConfig, VitConfig};
#[doc(hidden)]
pub use decoder_attention::DecoderAttention;
pub use hiera_config::HieraConfig;
pub use image_embedding::ImageEmbedding;
pub use mask_decoder::{DecodedTokens, DecoderOutput};
pub use official::save;
pub use postprocess::{MASK_THRESHOLD, MaskUpscaler, stability_score, threshold_into};
pub use predictor::{ImageFeatures, PredictedMask, Prompt, SamPredictor};
pub use preprocess::{ImageFrame, PixelTransform, PreparedImage};
pub use prompt_encoder::{PointPrompts, Prompts};
pub use sam::{ImageEncoder, Sam}; // for tools/pretrain_demo_sam
pub use sam3_config::Sam3VitConfig;
