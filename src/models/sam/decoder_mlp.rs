//! The small heads of the mask decoder (upstream: `MLP` of `mask_decoder.py`).

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

/// Linear layers with ReLU between them.
#[derive(Module, Debug)]
pub struct DecoderMlp {
    /// The layers.
    pub layers: Vec<Linear>,
}

#[derive(Clone, Copy)]
pub(super) struct DecoderMlpSizes {
    pub input: usize,
    pub hidden: usize,
    pub output: usize,
    pub layers: usize,
}

impl DecoderMlpSizes {
    /// Three layers over a token of `dim` channels.
    pub(super) const fn of_token(dim: usize, output: usize) -> Self {
        Self {
            input: dim,
            hidden: dim,
            output,
            layers: 3,
        }
    }
}

impl DecoderMlp {
    pub(super) fn new(sizes: DecoderMlpSizes, device: &Device) -> Self {
        let last = sizes.layers - 1;
        let layer = |i| {
            let from = if i == 0 { sizes.input } else { sizes.hidden };
            let to = if i == last {
                sizes.output
            } else {
                sizes.hidden
            };
            LinearConfig::new(from, to).init(device)
        };
        Self {
            layers: (0..sizes.layers).map(layer).collect(),
        }
    }

    /// # Shapes
    /// - input: `[..., input]`
    /// - output: `[..., output]`
    pub(super) fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        let mut hidden = input;
        for (i, layer) in self.layers.iter().enumerate() {
            hidden = layer.forward(hidden);
            if i + 1 < self.layers.len() {
                hidden = relu(hidden);
            }
        }
        hidden
    }
}
