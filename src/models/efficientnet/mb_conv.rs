//! Convolutions with batch normalisation, and the blocks made of them.

use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::ops::PadMode;
use burn::tensor::{Device, Tensor};

use crate::models::layers::FixedBatchNorm;

/// Value that batch normalisation adds to the variance.
pub(super) const EPSILON: f64 = 1e-3;

/// Sizes of a convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConvSizes {
    pub from: usize,
    pub to: usize,
    pub kernel: usize,
    pub stride: usize,
    pub groups: usize,
}

/// A convolution without bias. Its input is padded here, because TensorFlow pads more at the right and bottom.
pub(super) fn convolution(sizes: ConvSizes, device: &Device) -> Conv2d {
    Conv2dConfig::new([sizes.from, sizes.to], [sizes.kernel, sizes.kernel])
        .with_stride([sizes.stride, sizes.stride])
        .with_groups(sizes.groups)
        .with_padding(PaddingConfig2d::Valid)
        .with_bias(false)
        .init(device)
}

/// A convolution, batch normalisation and, if wanted, ReLU6.
///
/// # Shapes
/// - input: `[batch, from, height, width]`
/// - output: `[batch, to, height / stride, width / stride]`, rounded up
pub(super) fn normalised(
    convolution: &Conv2d,
    norm: &FixedBatchNorm,
    input: Tensor<4>,
) -> Tensor<4> {
    let [_, _, kernel, _] = convolution.weight.dims();
    let [stride, _] = convolution.stride;
    let input = padded(input, kernel, stride);
    norm.forward(convolution.forward(input))
}

/// TensorFlow's padding "same": the output has `ceil(side / stride)` pixels; an odd pixel is added at the end.
fn padded(input: Tensor<4>, kernel: usize, stride: usize) -> Tensor<4> {
    let [_, _, height, width] = input.dims();
    let missing = |side: usize| {
        let needed = (side.div_ceil(stride) - 1) * stride + kernel;
        let missing = needed.saturating_sub(side);
        (missing / 2, missing - missing / 2)
    };
    let ((top, bottom), (left, right)) = (missing(height), missing(width));
    if top + bottom + left + right == 0 {
        return input;
    }
    input.pad((left, right, top, bottom), PadMode::Constant(0.0))
}

/// ReLU with a limit of 6.
pub(super) fn relu6(input: Tensor<4>) -> Tensor<4> {
    input.clamp(0.0, 6.0)
}

/// Widens the channels, mixes neighbours per channel and narrows them again; with a residual where sizes allow it.
#[derive(Module, Debug)]
pub struct MbConv {
    /// Widens the channels; the first block has none.
    pub expand_conv: Option<Conv2d>,
    /// After `expand_conv`.
    pub bn0: Option<FixedBatchNorm>,
    /// Mixes neighbours per channel.
    pub depthwise_conv: Conv2d,
    /// After `depthwise_conv`.
    pub bn1: FixedBatchNorm,
    /// Narrows the channels.
    pub project_conv: Conv2d,
    /// After `project_conv`.
    pub bn2: FixedBatchNorm,
    has_residual: bool,
}

/// Sizes of a [`MbConv`].
#[derive(Clone, Copy, Debug)]
pub(super) struct MbConvSizes {
    pub from: usize,
    pub hidden: usize,
    pub to: usize,
    pub kernel: usize,
    pub stride: usize,
    pub expands: bool,
}

impl MbConv {
    pub(super) fn new(sizes: MbConvSizes, device: &Device) -> Self {
        let MbConvSizes {
            from,
            hidden,
            to,
            kernel,
            stride,
            expands,
        } = sizes;
        let pointwise = |from, to| {
            let sizes = ConvSizes {
                from,
                to,
                kernel: 1,
                stride: 1,
                groups: 1,
            };
            convolution(sizes, device)
        };
        let depthwise = ConvSizes {
            from: hidden,
            to: hidden,
            kernel,
            stride,
            groups: hidden,
        };
        let norm = |channels| FixedBatchNorm::new(channels, EPSILON, device);
        Self {
            expand_conv: expands.then(|| pointwise(from, hidden)),
            bn0: expands.then(|| norm(hidden)),
            depthwise_conv: convolution(depthwise, device),
            bn1: norm(hidden),
            project_conv: pointwise(hidden, to),
            bn2: norm(to),
            has_residual: stride == 1 && from == to,
        }
    }

    /// # Shapes
    /// - input: `[batch, from, height, width]`
    /// - output: `[batch, to, height / stride, width / stride]`, rounded up
    pub(super) fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let mut wide = input.clone();
        if let (Some(convolution), Some(norm)) = (&self.expand_conv, &self.bn0) {
            wide = relu6(normalised(convolution, norm, wide));
        }
        let mixed = relu6(normalised(&self.depthwise_conv, &self.bn1, wide));
        let narrow = normalised(&self.project_conv, &self.bn2, mixed);
        if self.has_residual {
            narrow + input
        } else {
            narrow
        }
    }
}
