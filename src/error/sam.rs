//! What can go wrong with a model, its weights and its inputs.

use std::path::PathBuf;

use crate::geometry::Size;

/// Everything that can go wrong in `sam`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SamError {
    /// A model type is not one of the published ones.
    #[error("model type '{found}' is not known; expected one of vit_b, vit_l, vit_h, vit_t")]
    UnknownModelType {
        /// The name given.
        found: String,
    },

    /// Sizes of a model do not fit together.
    #[error("model sizes do not fit together: {reason}")]
    ModelConfig {
        /// Which, and why.
        reason: String,
    },

    /// An image has no pixels.
    #[error("image of {size} pixels is empty")]
    EmptyImage {
        /// Height and width.
        size: Size,
    },

    /// An image's bytes are not three a pixel.
    #[error("image of {size} pixels: expected {expected} bytes of RGB, found {found}")]
    PixelCount {
        /// Height and width.
        size: Size,
        /// Bytes there should be.
        expected: usize,
        /// Bytes there are.
        found: usize,
    },

    /// A mask of the decoder does not have the size its upscaler is for.
    #[error("mask has {found} logits, expected {expected}")]
    MaskLength {
        /// Logits there should be.
        expected: usize,
        /// Logits there are.
        found: usize,
    },

    /// A checkpoint cannot be opened.
    #[error("checkpoint '{path}' cannot be opened")]
    OpenCheckpoint {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },

    /// A checkpoint is neither a PyTorch nor a safetensors file, or is damaged.
    #[error("checkpoint '{path}' cannot be read as a PyTorch or safetensors file")]
    ReadCheckpoint {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// A checkpoint cannot be written.
    #[error("checkpoint '{path}' cannot be written")]
    SaveCheckpoint {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// A checkpoint holds weights of something else.
    #[error(
        "checkpoint '{path}' holds {tensors} tensors, but no Segment Anything model: \
         'mask_decoder.iou_token.weight' is not among them"
    )]
    NotSamCheckpoint {
        /// The file.
        path: PathBuf,
        /// Tensors found in it.
        tensors: usize,
    },

    /// A checkpoint's tensors are not those of the model.
    #[error("checkpoint '{path}' does not fit the model:\n  {}", problems.join("\n  "))]
    CheckpointTensors {
        /// The file.
        path: PathBuf,
        /// Every tensor at fault: its official name, what is expected and what is found.
        problems: Vec<String>,
    },

    /// A weight is not a number.
    #[error("checkpoint '{path}': tensor '{tensor}' is NaN or infinite at element {index}")]
    WeightNotFinite {
        /// The file.
        path: PathBuf,
        /// Official name of the tensor.
        tensor: String,
        /// The first such element, counted row-major.
        index: usize,
    },

    /// A weight is not a float.
    #[error("checkpoint '{path}': tensor '{tensor}': expected floats, found {found}")]
    WeightType {
        /// The file.
        path: PathBuf,
        /// Official name of the tensor.
        tensor: String,
        /// Type found.
        found: String,
    },
}
