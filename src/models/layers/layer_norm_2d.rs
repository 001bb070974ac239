//! Layer normalisation of image-like tensors (upstream: segment-anything, `common.py`).

use burn::module::{Initializer, Module, Param};
use burn::tensor::module::layer_norm;
use burn::tensor::{Device, Tensor};

/// Value that layer normalisation adds to the variance, in the encoder and in every [`LayerNorm2d`].
pub(in crate::models) const LAYER_NORM_EPSILON: f64 = 1e-6;

/// Layer normalisation over the channels of an image-like tensor.
#[derive(Module, Debug)]
pub struct LayerNorm2d {
    /// Factor per channel.
    pub weight: Param<Tensor<1>>,
    /// Offset per channel.
    pub bias: Param<Tensor<1>>,
}

impl LayerNorm2d {
    /// Creates a layer that does not change normalised values: weights of 1 and biases of 0.
    pub fn new(channels: usize, device: &Device) -> Self {
        Self {
            weight: Initializer::Ones.init([channels], device),
            bias: Initializer::Zeros.init([channels], device),
        }
    }

    /// Normalises over dimension 1.
    ///
    /// # Shapes
    /// - input and output: `[batch, channels, height, width]`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.forward_channels_last(input.permute([0, 2, 3, 1]))
            .permute([0, 3, 1, 2])
    }

    /// Normalises over the last dimension.
    ///
    /// # Shapes
    /// - input and output: `[..., channels]`
    pub fn forward_channels_last<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        let (weight, bias) = (self.weight.val(), self.bias.val());
        layer_norm(input, weight, Some(bias), LAYER_NORM_EPSILON)
    }
}
