//! The network, and its sizes from the shapes of its weights.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::{Device, Tensor};

use super::mb_conv::{ConvSizes, EPSILON, MbConv, MbConvSizes, convolution, normalised, relu6};
use crate::device::Precision;
use crate::models::checkpoint::Weights;
use crate::models::error::{ModelError, Result};
use crate::models::layers::FixedBatchNorm;
use crate::models::weights::{self, Place, Recipe};

/// Blocks of each stage of Lite0, and the stride of the first of them, which shapes do not tell.
const STAGES: [(usize, usize); 7] = [(1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1)];

/// EfficientNet-Lite0.
#[derive(Module, Debug)]
pub struct EfficientNetLite {
    /// The first convolution.
    pub conv_stem: Conv2d,
    /// After `conv_stem`.
    pub bn0: FixedBatchNorm,
    /// The blocks.
    pub blocks: Vec<MbConv>,
    /// The last convolution.
    pub conv_head: Conv2d,
    /// After `conv_head`.
    pub bn1: FixedBatchNorm,
    dim: usize,
}

impl EfficientNetLite {
    /// Side of the input that the network was trained at, in pixels.
    pub const IMAGE_SIZE: usize = 224;

    /// Loads the network of a file, with its weights rounded to a precision. The classifier is left out.
    ///
    /// # Errors
    /// [`ModelError::OtherModel`] for an EfficientNet with squeeze-and-excitation; [`ModelError::ModelConfig`] for
    /// another number of blocks than Lite0's; [`ModelError::CheckpointTensors`] with a list of all missing, extra and
    /// mis-shaped tensors; [`ModelError::WeightNotFinite`] and [`ModelError::ReadCheckpoint`].
    pub fn load(mut weights: Weights, precision: Precision, device: &Device) -> Result<Self> {
        if let Some(tensor) = weights.names().find(|name| name.contains("._se_reduce.")) {
            return Err(ModelError::OtherModel {
                path: weights.path().to_owned(),
                family: "EfficientNet with squeeze-and-excitation",
                tensor: tensor.to_owned(),
                expected: "EfficientNet-Lite".to_owned(),
            });
        }
        weights.retain(|name| !name.starts_with("_fc.") && !name.ends_with(".num_batches_tracked"));
        let network = Self::sized_as(&weights, device)?;
        weights::load(&weights, network, precision, &Names)
    }

    fn sized_as(weights: &Weights, device: &Device) -> Result<Self> {
        let [stem, channels, kernel, _]: [usize; 4] = weights.shape_of("_conv_stem.weight")?;
        let strides: Vec<usize> = STAGES
            .iter()
            .flat_map(|(blocks, first)| {
                std::iter::once(*first).chain(std::iter::repeat_n(1, blocks - 1))
            })
            .collect();
        let found = weights.children("_blocks.");
        if found != strides.len() {
            return Err(ModelError::ModelConfig {
                reason: format!(
                    "the network has {found} blocks; EfficientNet-Lite0 has {}, and other sizes are not supported",
                    strides.len()
                ),
            });
        }
        let mut blocks = Vec::with_capacity(found);
        for (index, stride) in strides.into_iter().enumerate() {
            let name = |layer: &str| format!("_blocks.{index}.{layer}.weight");
            let [hidden, _, kernel, _]: [usize; 4] = weights.shape_of(&name("_depthwise_conv"))?;
            let [to, _, _, _]: [usize; 4] = weights.shape_of(&name("_project_conv"))?;
            let expands = weights.shape(&name("_expand_conv")).is_some();
            let mut from = hidden;
            if expands {
                [_, from, _, _] = weights.shape_of(&name("_expand_conv"))?;
            }
            let sizes = MbConvSizes {
                from,
                hidden,
                to,
                kernel,
                stride,
                expands,
            };
            blocks.push(MbConv::new(sizes, device));
        }
        let [dim, last, _, _]: [usize; 4] = weights.shape_of("_conv_head.weight")?;
        let first = ConvSizes {
            from: channels,
            to: stem,
            kernel,
            stride: 2,
            groups: 1,
        };
        let head = ConvSizes {
            from: last,
            to: dim,
            kernel: 1,
            stride: 1,
            groups: 1,
        };
        Ok(Self {
            conv_stem: convolution(first, device),
            bn0: FixedBatchNorm::new(stem, EPSILON, device),
            blocks,
            conv_head: convolution(head, device),
            bn1: FixedBatchNorm::new(dim, EPSILON, device),
            dim,
        })
    }

    /// Numbers of a vector: 1,280.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The vectors of images.
    ///
    /// # Shapes
    /// - pixels: `[batch, 3, height, width]`, bytes less 127 over 128
    /// - output: `[batch, dim]`
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<2> {
        let pixels = pixels.cast(self.conv_stem.weight.val().dtype());
        let mut features = relu6(normalised(&self.conv_stem, &self.bn0, pixels));
        for block in &self.blocks {
            features = block.forward(features);
        }
        let features = relu6(normalised(&self.conv_head, &self.bn1, features));
        features.mean_dim(3).mean_dim(2).flatten::<2>(1, 3)
    }
}

/// The network's names: fields with an underscore before them.
struct Names;

impl weights::Names for Names {
    fn recipe(&self, place: &Place) -> Recipe {
        let path = place.path();
        let Some((layers, last)) = path.rsplit_once('.') else {
            return Recipe::One(path);
        };
        let named = layers.split('.').map(|layer| match layer.parse::<usize>() {
            Ok(_) => layer.to_owned(),
            Err(_) => format!("_{layer}"),
        });
        Recipe::One(format!("{}.{last}", named.collect::<Vec<_>>().join(".")))
    }
}
