//! Errors of a model, its weights and its inputs.

use std::path::PathBuf;

use super::NotWeights;
use crate::geometry::Size;

/// Everything that can go wrong in [`models`](crate::models).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A model type is not one of the published ones.
    #[error("model type '{found}' is not known; expected one of {}", expected.join(", "))]
    UnknownModelType {
        /// The name given.
        found: String,
        /// The names that are known.
        expected: Vec<&'static str>,
    },

    /// Sizes of a model do not fit together.
    #[error("model sizes do not fit together: {reason}")]
    ModelConfig {
        /// Which sizes, and why.
        reason: String,
    },

    /// An image has no pixels.
    #[error("image of {size} pixels is empty")]
    EmptyImage {
        /// Height and width.
        size: Size,
    },

    /// An image does not have three bytes per pixel.
    #[error("image of {size} pixels: expected {expected} bytes of RGB, found {found}")]
    PixelCount {
        /// Height and width.
        size: Size,
        /// Number of bytes expected.
        expected: usize,
        /// Number of bytes found.
        found: usize,
    },

    /// A prompt is empty.
    #[error("the prompt has neither a point nor a box nor a mask")]
    EmptyPrompt,

    /// A mask prompt is of another size than the image.
    #[error("the mask of the prompt is {} x {} pixels, the image {} x {}", found.width, found.height, expected.width, expected.height)]
    PromptMask {
        /// Size of the image.
        expected: Size,
        /// Size of the mask.
        found: Size,
    },

    /// A prompt has a coordinate that is not finite.
    #[error("the prompt has coordinate {value}, expected a finite number of pixels")]
    PromptCoordinate {
        /// The coordinate.
        value: f64,
    },

    /// A model's output holds numbers that are not finite.
    #[error("the model's {what} are not all finite numbers; are its weights sound?")]
    Output {
        /// Which of its outputs.
        what: &'static str,
    },

    /// A mask cannot be encoded.
    #[error("a mask that the model gave cannot be encoded")]
    Mask {
        /// The cause.
        #[source]
        source: Box<crate::Error>,
    },

    /// A mask of the decoder does not have the size that the upscaler expects.
    #[error("mask has {found} logits, expected {expected}")]
    MaskLength {
        /// Number of logits expected.
        expected: usize,
        /// Number of logits found.
        found: usize,
    },

    /// A checkpoint cannot be opened.
    #[error("checkpoint '{path}' cannot be opened")]
    OpenCheckpoint {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },

    /// A checkpoint is neither a PyTorch nor a safetensors file, or is damaged.
    #[error("checkpoint '{path}' cannot be read as a PyTorch or safetensors file")]
    ReadCheckpoint {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// A checkpoint cannot be written.
    #[error("checkpoint '{path}' cannot be written")]
    SaveCheckpoint {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// A file that was given as a checkpoint is something else, or is not complete.
    #[error("checkpoint '{path}' {kind}")]
    NotWeights {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: NotWeights,
    },

    /// A folder that was given as a checkpoint leaves open which of its files is meant.
    #[error("folder '{path}' {}", in_folder(found))]
    CheckpointFolder {
        /// The folder.
        path: PathBuf,
        /// Files in it that may be weights, by name.
        found: Vec<String>,
    },

    /// One of several files of a checkpoint was given in place of all of them.
    #[error(
        "checkpoint '{path}' is one file of several; name their folder, or the '.index.json' that lists them"
    )]
    CheckpointShard {
        /// The file.
        path: PathBuf,
    },

    /// The list of a checkpoint's files does not match the files.
    #[error("checkpoint index '{path}': {reason}")]
    CheckpointIndex {
        /// The `.index.json`.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },

    /// A `config.json` beside weights is of another model, or has impossible values.
    #[error("model config '{path}': {reason}")]
    CheckpointConfig {
        /// The `config.json`.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },

    /// The weights of a SAM 2 or 3 of sizes that no published model has do not show its heads and windows.
    #[error(
        "checkpoint '{path}' holds {found}, which no published model has; its heads and windows cannot be read from \
         weights: put the model's Hugging Face 'config.json' and its 'model.safetensors' into a folder and name the folder"
    )]
    HiddenSizes {
        /// The file or folder.
        path: PathBuf,
        /// The sizes that the weights show.
        found: String,
    },

    /// A checkpoint holds weights of something else.
    #[error(
        "checkpoint '{path}' holds {tensors} tensors, but no {expected} model, by their names; {}",
        listed("there are", keys)
    )]
    UnknownModel {
        /// The file.
        path: PathBuf,
        /// The families that were expected.
        expected: String,
        /// Tensors found in it.
        tensors: usize,
        /// The first parts of their names, each with the number of tensors below it.
        keys: Vec<String>,
    },

    /// A checkpoint holds weights of another model than the one that was asked for.
    #[error("checkpoint '{path}' holds {family} ('{tensor}'); expected {expected}")]
    OtherModel {
        /// The file.
        path: PathBuf,
        /// The kind of model.
        family: &'static str,
        /// The tensor that identifies it.
        tensor: String,
        /// The families that were expected.
        expected: String,
    },

    /// A checkpoint holds a tensor more than once, under equivalent names.
    #[error(
        "checkpoint '{path}' holds more than one model: {}; keep the one that you mean: \
         python -c \"import torch; torch.save(torch.load('IN.pth', map_location='cpu')['KEY'], 'OUT.pth')\"",
        listed("there are", keys)
    )]
    AmbiguousCheckpoint {
        /// The file.
        path: PathBuf,
        /// The names, as the file has them.
        keys: Vec<String>,
    },

    /// Nothing says which activation a CLIP was trained with.
    #[error(
        "checkpoint '{path}' is CLIP, and nothing beside it says with which activation: there is no 'config.json' of \
         Hugging Face nor 'open_clip_config.json'"
    )]
    ActivationUnknown {
        /// The file.
        path: PathBuf,
    },

    /// A checkpoint was trained on pixels that were normalised differently.
    #[error(
        "checkpoint '{path}': '{tensor}' is {found:?}, and this program normalises pixels with {expected:?}: its masks \
         would be wrong"
    )]
    PixelStatistics {
        /// The file.
        path: PathBuf,
        /// `pixel_mean` or `pixel_std`.
        tensor: String,
        /// What it holds.
        found: Vec<f32>,
        /// What it should hold, one value per channel.
        expected: [f32; 3],
    },

    /// A checkpoint's tensors are not those of the model.
    #[error("checkpoint '{path}' does not fit the model:\n  {}", lines(problems))]
    CheckpointTensors {
        /// The file.
        path: PathBuf,
        /// Every tensor at fault: its official name, what is expected and what is found.
        problems: Vec<String>,
    },

    /// A weight is NaN or infinite.
    #[error("checkpoint '{path}': tensor '{tensor}' is NaN or infinite at element {index}")]
    WeightNotFinite {
        /// The file.
        path: PathBuf,
        /// Official name of the tensor.
        tensor: String,
        /// Index of the first such element, row-major.
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

/// Maximum number of problems that a message shows.
const MAX_LINES: usize = 20;
/// Maximum number of names that a message shows.
const MAX_NAMES: usize = 8;

fn lines(problems: &[String]) -> String {
    let shown = problems.get(..MAX_LINES).unwrap_or(problems).join("\n  ");
    match problems.len().saturating_sub(MAX_LINES) {
        0 => shown,
        more => format!("{shown}\n  and {more} more"),
    }
}

fn listed(verb: &str, names: &[String]) -> String {
    if names.is_empty() {
        return format!("{verb} none");
    }
    let shown = names.get(..MAX_NAMES).unwrap_or(names).join(", ");
    match names.len().saturating_sub(MAX_NAMES) {
        0 => format!("{verb} {shown}"),
        more => format!("{verb} {shown} and {more} more"),
    }
}

fn in_folder(found: &[String]) -> String {
    if found.is_empty() {
        return "holds no checkpoint: expected 'model.safetensors', 'model.safetensors.index.json' \
                or one .pth, .pt, .bin, .ckpt or .safetensors file"
            .to_owned();
    }
    format!(
        "holds several files of weights; name one: {}",
        found.join(", ")
    )
}
