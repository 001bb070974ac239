//! Cuts images into patches and projects each patch to a token.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::{Device, Tensor};

/// Cuts an image into patches and projects each patch.
#[derive(Module, Debug)]
pub struct PatchEmbed {
    /// The projection, stored as a convolution as upstream.
    pub proj: Conv2d,
}

/// Sizes of a [`PatchEmbed`].
#[derive(Clone, Copy, Debug)]
pub(in crate::models) struct PatchEmbedSizes {
    /// Channels of a token.
    pub dim: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Whether the projection adds a bias.
    pub has_bias: bool,
}

impl PatchEmbed {
    pub(in crate::models) fn new(sizes: PatchEmbedSizes, device: &Device) -> Self {
        let patch = [sizes.patch, sizes.patch];
        let proj = Conv2dConfig::new([3, sizes.dim], patch)
            .with_stride(patch)
            .with_bias(sizes.has_bias);
        Self {
            proj: proj.init(device),
        }
    }

    /// # Shapes
    /// - pixels: `[batch, 3, patch * rows, patch * columns]`
    /// - output: `[batch, rows, columns, dim]`
    pub(in crate::models) fn forward(&self, pixels: Tensor<4>) -> Tensor<4> {
        // The stride equals the kernel, so the convolution is one matrix product over patches.
        let weight = self.proj.weight.val();
        let [dim, channels, side, _] = weight.dims();
        let [batch, _, height, width] = pixels.dims();
        let (rows, columns) = (height / side, width / side);
        let patch = channels * side * side;
        let patches = pixels
            .reshape([batch, channels, rows, side, columns, side])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([batch * rows * columns, patch]);
        let mut tokens = patches.matmul(weight.reshape([dim, patch]).transpose());
        if let Some(bias) = &self.proj.bias {
            tokens = tokens + bias.val().unsqueeze();
        }
        tokens.reshape([batch, rows, columns, dim])
    }
}
