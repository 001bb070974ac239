//! Two linear layers with an activation between them.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use super::activation::Activation;

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
        self.lin2.forward(self.activation.forward(hidden))
    }
}
