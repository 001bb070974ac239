//! Layers shared by several parts of the model (upstream: `common.py`).

use burn::module::{Initializer, Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::module::layer_norm;
use burn::tensor::{Device, Tensor};

use super::kernels::gelu;

/// Value that layer normalisation adds to the variance, in the encoder and in every [`LayerNorm2d`].
pub(super) const LAYER_NORM_EPSILON: f64 = 1e-6;

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

/// The activation between the two layers of an [`MlpBlock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// The exact GELU, with the error function.
    Gelu,
    /// ReLU.
    Relu,
}

/// Two linear layers with an activation between them.
#[derive(Module, Debug)]
pub struct MlpBlock {
    /// Maps to the hidden channels.
    pub lin1: Linear,
    /// Maps back to the outer channels.
    pub lin2: Linear,
    #[module(skip)]
    activation: Activation,
}

impl MlpBlock {
    /// Creates a block that maps `dim` channels to `hidden` channels and back.
    pub fn new(dim: usize, hidden: usize, activation: Activation, device: &Device) -> Self {
        Self {
            lin1: LinearConfig::new(dim, hidden).init(device),
            lin2: LinearConfig::new(hidden, dim).init(device),
            activation,
        }
    }

    /// Applies the block to each token.
    ///
    /// # Shapes
    /// - input and output: `[..., dim]`
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        let hidden = self.lin1.forward(input);
        self.lin2.forward(match self.activation {
            Activation::Gelu => gelu(hidden),
            Activation::Relu => relu(hidden),
        })
    }
}
