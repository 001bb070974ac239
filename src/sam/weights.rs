//! Loading weights from a checkpoint into a model, saving them, and reporting why they do not fit.
//!
//! A model's fields are named like upstream's weights, except where upstream has numbers in a `Sequential`;
//! `official_name` translates these.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, FloatDType, Tensor, TensorData};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

use super::checkpoint::{CONFIG_KEY, Checkpoint};
use super::error::{Result, SamError};
use super::sam::Sam;
use crate::device::Precision;

/// Why one tensor of a checkpoint does not fit a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TensorProblem {
    /// The model needs the tensor, but the checkpoint does not have it.
    Missing {
        /// Official name.
        tensor: String,
        /// Shape in the model, if known.
        expected: Option<Vec<usize>>,
    },
    /// The checkpoint has the tensor, but the model does not.
    Extra {
        /// Official name.
        tensor: String,
        /// Shape in the checkpoint.
        found: Vec<usize>,
    },
    /// The shapes differ.
    Shape {
        /// Official name.
        tensor: String,
        /// Shape in the model.
        expected: Vec<usize>,
        /// Shape in the checkpoint.
        found: Vec<usize>,
    },
    /// A tensor that determines a size of the model has another number of dimensions.
    Rank {
        /// Official name.
        tensor: String,
        /// Dimensions it should have.
        expected: usize,
        /// Shape in the checkpoint.
        found: Vec<usize>,
    },
}

impl fmt::Display for TensorProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing {
                tensor,
                expected: None,
            } => write!(f, "'{tensor}' is missing"),
            Self::Missing {
                tensor,
                expected: Some(expected),
            } => {
                write!(f, "'{tensor}' is missing: expected {expected:?}")
            }
            Self::Extra { tensor, found } => {
                write!(f, "'{tensor}' has no place in the model: found {found:?}")
            }
            Self::Shape {
                tensor,
                expected,
                found,
            } => {
                write!(f, "'{tensor}': expected {expected:?}, found {found:?}")
            }
            Self::Rank {
                tensor,
                expected,
                found,
            } => {
                write!(
                    f,
                    "'{tensor}': expected {expected} dimensions, found {found:?}"
                )
            }
        }
    }
}

/// Precision of saved weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightPrecision {
    /// 16-bit floats.
    F16,
    /// 32-bit floats.
    F32,
}

/// Fills a model from a checkpoint, with weights rounded to `precision`.
pub(super) fn load(checkpoint: &Checkpoint, model: Sam, precision: Precision) -> Result<Sam> {
    let mut loader = Loader {
        checkpoint,
        precision,
        place: Place::default(),
        unused: checkpoint.names().collect(),
        problems: Vec::new(),
        failed: None,
    };
    let model = model.map(&mut loader);
    let Loader {
        unused,
        mut problems,
        failed,
        ..
    } = loader;
    problems.extend(unused.into_iter().map(|name| TensorProblem::Extra {
        tensor: name.to_owned(),
        found: checkpoint.shape(name).unwrap_or_default().to_vec(),
    }));
    if !problems.is_empty() {
        return Err(SamError::CheckpointTensors {
            path: checkpoint.path().to_owned(),
            problems: problems.iter().map(TensorProblem::to_string).collect(),
        });
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(model),
    }
}

/// The position in a walk over a model's parameters.
#[derive(Default)]
struct Place {
    path: Vec<String>,
    container: Vec<String>,
}

impl Place {
    fn enter(&mut self, name: &str, container: &str) {
        self.container.push(container.to_owned());
        if !container.starts_with("Enum:") {
            self.path.push(name.to_owned());
        }
    }

    fn exit(&mut self, container: &str) {
        self.container.pop();
        if !container.starts_with("Enum:") {
            self.path.pop();
        }
    }

    fn name(&self) -> String {
        official_name(&self.path.join("."))
    }

    /// Whether the parameter is stored transposed: torch stores a linear layer's weight as `[out, in]`.
    fn is_transposed(&self) -> bool {
        let is_weight = self.path.last().is_some_and(|name| name == "weight");
        is_weight
            && self
                .container
                .last()
                .is_some_and(|it| it == "Struct:Linear")
    }
}

/// Parts of parameter paths: ours, then upstream's.
const PARTS: [(&str, &str); 17] = [
    (".gamma", ".weight"),
    (".beta", ".bias"),
    (".neck.conv1.", ".neck.0."),
    (".neck.norm1.", ".neck.1."),
    (".neck.conv2.", ".neck.2."),
    (".neck.norm2.", ".neck.3."),
    (".mask_downscaling.conv1.", ".mask_downscaling.0."),
    (".mask_downscaling.norm1.", ".mask_downscaling.1."),
    (".mask_downscaling.conv2.", ".mask_downscaling.3."),
    (".mask_downscaling.norm2.", ".mask_downscaling.4."),
    (".mask_downscaling.conv3.", ".mask_downscaling.6."),
    (".output_upscaling.conv1.", ".output_upscaling.0."),
    (".output_upscaling.norm.", ".output_upscaling.1."),
    (".output_upscaling.conv2.", ".output_upscaling.3."),
    (
        "image_encoder.patch_embed.conv1.",
        "image_encoder.patch_embed.seq.0.",
    ),
    (
        "image_encoder.patch_embed.conv2.",
        "image_encoder.patch_embed.seq.2.",
    ),
    ("image_encoder.conv_layer.", "image_encoder.layers.0."),
];

/// Upstream's name of the parameter at a path of field names.
fn official_name(path: &str) -> String {
    // TinyViT's first stage is a separate field here, so the other stages count from 0.
    if let Some((stage, rest)) = path
        .strip_prefix("image_encoder.layers.")
        .and_then(|rest| rest.split_once('.'))
        && let Ok(stage) = stage.parse::<usize>()
    {
        return official_name(&format!("image_encoder.layer.{}.{rest}", stage + 1)).replacen(
            "image_encoder.layer.",
            "image_encoder.layers.",
            1,
        );
    }
    PARTS
        .iter()
        .fold(path.to_owned(), |path, (ours, official)| {
            path.replacen(ours, official, 1)
        })
}

const POSITION_FREQUENCIES: &str = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix";

struct Loader<'a> {
    checkpoint: &'a Checkpoint,
    precision: Precision,
    place: Place,
    unused: BTreeSet<&'a str>,
    problems: Vec<TensorProblem>,
    failed: Option<SamError>,
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.place.enter(name, container_type);
    }

    fn exit_module(&mut self, _: &str, container_type: &str) {
        self.place.exit(container_type);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.place.name();
        let transposed = self.place.is_transposed();
        let mut expected = param.lazy_shape().as_slice().to_vec();
        if transposed {
            expected.reverse();
        }
        let Some(stored) = self.checkpoint.tensors().get(&name) else {
            self.problems.push(TensorProblem::Missing {
                tensor: name,
                expected: Some(expected),
            });
            return param;
        };
        self.unused.remove(name.as_str());
        if stored.shape.as_slice() != expected {
            self.problems.push(TensorProblem::Shape {
                tensor: name,
                expected,
                found: stored.shape.as_slice().to_vec(),
            });
            return param;
        }
        if self.failed.is_some() || !self.problems.is_empty() {
            return param;
        }
        match self.checkpoint.values(&name) {
            Err(error) => {
                self.failed = Some(error);
                param
            }
            Ok(values) => {
                let device = param.lazy_device();
                let data = TensorData::new(values, expected);
                let tensor = Tensor::<D>::from_data(data, (&device, DType::F32));
                // Copied, so that the weight's rows are contiguous for matrix products.
                let tensor = if transposed {
                    contiguous(tensor.transpose())
                } else {
                    tensor
                };
                let tensor = tensor.cast(self.dtype_of(&name));
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
        }
    }
}

impl Loader<'_> {
    /// The frequencies of positions stay in f32, because their angles go through many turns.
    fn dtype_of(&self, name: &str) -> DType {
        if name == POSITION_FREQUENCIES {
            DType::F32
        } else {
            self.precision.dtype()
        }
    }
}

fn contiguous<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    let device = tensor.device();
    Tensor::from_data(tensor.into_data(), &device)
}

/// Saves a model as safetensors, with official names and with its sizes.
///
/// # Errors
/// [`SamError::SaveCheckpoint`] if the file cannot be written.
pub fn save(model: &Sam, path: impl AsRef<Path>, precision: WeightPrecision) -> Result<()> {
    let path = path.as_ref();
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| SamError::SaveCheckpoint {
        path: path.to_owned(),
        source,
    };
    let mut saver = Saver {
        place: Place::default(),
        precision,
        tensors: Vec::new(),
    };
    model.visit(&mut saver);
    let dtype = match precision {
        WeightPrecision::F16 => Dtype::F16,
        WeightPrecision::F32 => Dtype::F32,
    };
    let mut views = Vec::with_capacity(saver.tensors.len());
    for (name, data) in &saver.tensors {
        let view = TensorView::new(dtype, data.shape().as_slice().to_vec(), data.as_bytes());
        views.push((name.as_str(), view.map_err(|source| failed(source.into()))?));
    }
    let config = serde_json::to_string(model.config()).map_err(|source| failed(source.into()))?;
    let metadata = HashMap::from([(CONFIG_KEY.to_owned(), config)]);
    serialize_to_file(views, Some(metadata), path).map_err(|source| failed(source.into()))
}

struct Saver {
    place: Place,
    precision: WeightPrecision,
    tensors: Vec<(String, TensorData)>,
}

impl ModuleVisitor for Saver {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.place.enter(name, container_type);
    }

    fn exit_module(&mut self, _: &str, container_type: &str) {
        self.place.exit(container_type);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let tensor = if self.place.is_transposed() {
            tensor.transpose()
        } else {
            tensor
        };
        let dtype = match self.precision {
            WeightPrecision::F16 => FloatDType::F16,
            WeightPrecision::F32 => FloatDType::F32,
        };
        self.tensors
            .push((self.place.name(), tensor.cast(dtype).into_data()));
    }
}
