//! Batch normalisation with the statistics from training.

use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};

/// Batch normalisation with the statistics from training.
#[derive(Module, Debug)]
pub struct FixedBatchNorm {
    /// Factor per channel.
    pub weight: Param<Tensor<1>>,
    /// Offset per channel.
    pub bias: Param<Tensor<1>>,
    /// Mean per channel.
    pub running_mean: Param<Tensor<1>>,
    /// Variance per channel.
    pub running_var: Param<Tensor<1>>,
    epsilon: f64,
}

impl FixedBatchNorm {
    /// Creates a layer that does not change its input, but for `epsilon`, which is added to the variance.
    pub(in crate::models) fn new(channels: usize, epsilon: f64, device: &Device) -> Self {
        let zeros = || -> Param<Tensor<1>> { Initializer::Zeros.init([channels], device) };
        let ones = || -> Param<Tensor<1>> { Initializer::Ones.init([channels], device) };
        Self {
            weight: ones(),
            bias: zeros(),
            running_mean: zeros().set_require_grad(false),
            running_var: ones().set_require_grad(false),
            epsilon,
        }
    }

    /// The factor and the offset of each channel.
    ///
    /// # Shapes
    /// - output: two of `[channels]`
    pub(in crate::models) fn factor_and_offset(&self) -> (Tensor<1>, Tensor<1>) {
        let factor = self.weight.val() / (self.running_var.val() + self.epsilon).sqrt();
        let offset = self.bias.val() - self.running_mean.val() * factor.clone();
        (factor, offset)
    }

    /// # Shapes
    /// - input and output: `[batch, channels, height, width]`
    pub(in crate::models) fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let (factor, offset) = self.factor_and_offset();
        let [channels] = factor.dims();
        let per_channel = |values: Tensor<1>| values.reshape([1, channels, 1, 1]);
        input * per_channel(factor) + per_channel(offset)
    }
}
