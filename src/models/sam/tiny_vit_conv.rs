//! The convolutional parts of MobileSAM's image encoder.

use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::{Device, Tensor};

use crate::models::layers::{FixedBatchNorm, gelu};

/// Value that batch normalisation adds to the variance.
const BATCH_NORM_EPSILON: f64 = 1e-5;

/// A convolution without bias, followed by batch normalisation with fixed statistics.
#[derive(Module, Debug)]
pub struct ConvBn {
    /// The convolution.
    pub c: Conv2d,
    /// The normalisation.
    pub bn: FixedBatchNorm,
}

/// Sizes of a [`ConvBn`].
#[derive(Clone, Copy, Debug)]
pub(super) struct ConvBnSizes {
    pub from: usize,
    pub to: usize,
    pub kernel: usize,
    pub stride: usize,
    pub groups: usize,
}

impl ConvBnSizes {
    pub fn pointwise(from: usize, to: usize) -> Self {
        Self {
            from,
            to,
            kernel: 1,
            stride: 1,
            groups: 1,
        }
    }

    pub fn depthwise(channels: usize, stride: usize) -> Self {
        Self {
            kernel: 3,
            stride,
            groups: channels,
            ..Self::pointwise(channels, channels)
        }
    }
}

impl ConvBn {
    pub(super) fn new(sizes: ConvBnSizes, device: &Device) -> Self {
        let ConvBnSizes {
            from,
            to,
            kernel,
            stride,
            groups,
        } = sizes;
        let padding = kernel / 2;
        let c = Conv2dConfig::new([from, to], [kernel, kernel])
            .with_stride([stride, stride])
            .with_groups(groups)
            .with_padding(PaddingConfig2d::Explicit(
                padding, padding, padding, padding,
            ))
            .with_bias(false);
        Self {
            c: c.init(device),
            bn: FixedBatchNorm::new(to, BATCH_NORM_EPSILON, device),
        }
    }

    /// # Shapes
    /// - input: `[batch, from, height, width]`
    /// - output: `[batch, to, height / stride, width / stride]`, rounded up
    pub(super) fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.bn.forward(self.c.forward(input))
    }
}

/// Widens the channels, mixes neighbours per channel and narrows them again, inside a residual connection.
#[derive(Module, Debug)]
pub struct MbConv {
    /// Widens the channels.
    pub conv1: ConvBn,
    /// Mixes neighbours per channel.
    pub conv2: ConvBn,
    /// Narrows the channels.
    pub conv3: ConvBn,
}

impl MbConv {
    pub(super) fn new(dim: usize, hidden: usize, device: &Device) -> Self {
        Self {
            conv1: ConvBn::new(ConvBnSizes::pointwise(dim, hidden), device),
            conv2: ConvBn::new(ConvBnSizes::depthwise(hidden, 1), device),
            conv3: ConvBn::new(ConvBnSizes::pointwise(hidden, dim), device),
        }
    }

    /// # Shapes
    /// - input and output: `[batch, dim, height, width]`
    pub(super) fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let wide = gelu(self.conv1.forward(input.clone()));
        let mixed = gelu(self.conv2.forward(wide));
        gelu(self.conv3.forward(mixed) + input)
    }
}

/// Changes the channels between stages and, with stride 2, halves the grid.
#[derive(Module, Debug)]
pub struct PatchMerging {
    /// Maps to the new channels.
    pub conv1: ConvBn,
    /// Mixes neighbours, with the stride.
    pub conv2: ConvBn,
    /// Mixes channels.
    pub conv3: ConvBn,
}

impl PatchMerging {
    pub(super) fn new([from, to]: [usize; 2], stride: usize, device: &Device) -> Self {
        Self {
            conv1: ConvBn::new(ConvBnSizes::pointwise(from, to), device),
            conv2: ConvBn::new(ConvBnSizes::depthwise(to, stride), device),
            conv3: ConvBn::new(ConvBnSizes::pointwise(to, to), device),
        }
    }

    /// # Shapes
    /// - input: `[batch, from, height, width]`
    /// - output: `[batch, to, height / stride, width / stride]`
    pub(super) fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let changed = gelu(self.conv1.forward(input));
        self.conv3.forward(gelu(self.conv2.forward(changed)))
    }
}
