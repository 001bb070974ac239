//! The attention block of MobileSAM's image encoder.

#![allow(
    clippy::indexing_slicing,
    reason = "the stage is one of four, and each size is an array of four"
)]

use burn::module::{Initializer, Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::image_encoder::{window_partition, window_unpartition};
use super::tiny_vit::TinyVitConfig;
use super::tiny_vit_conv::{ConvBn, ConvBnSizes};
use crate::models::layers::gelu;
use crate::models::layers::{ScoreBias, attention};

/// Windowed attention, then a convolution per channel, then an MLP.
#[derive(Module, Debug)]
pub struct TinyVitBlock {
    /// Attention within windows.
    pub attn: TinyAttention,
    /// The MLP with its normalisation.
    pub mlp: TinyMlp,
    /// Mixes neighbours across windows.
    pub local_conv: ConvBn,
    window: usize,
}

impl TinyVitBlock {
    pub(super) fn new(config: &TinyVitConfig, stage: usize, device: &Device) -> Self {
        let (dim, window) = (config.embed_dims[stage], config.window_sizes[stage]);
        Self {
            attn: TinyAttention::new(dim, config.heads[stage], window, device),
            mlp: TinyMlp::new(dim, dim * config.mlp_ratio, device),
            local_conv: ConvBn::new(ConvBnSizes::depthwise(dim, 1), device),
            window,
        }
    }

    /// # Shapes
    /// - input and output: `[batch, dim, height, width]`
    pub(super) fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let [batch, _, height, width] = input.dims();
        let tokens = input.clone().permute([0, 2, 3, 1]);
        let windows = window_partition(tokens, self.window);
        let attended = self.attn.forward(windows);
        let attended = window_unpartition(attended, [batch, height, width]);
        let mixed = self
            .local_conv
            .forward(input + attended.permute([0, 3, 1, 2]));
        let mlp = self.mlp.forward(mixed.clone().permute([0, 2, 3, 1]));
        mixed + mlp.permute([0, 3, 1, 2])
    }
}

/// Multi-head attention with one learned bias per head and absolute offset.
#[derive(Module, Debug)]
pub struct TinyAttention {
    /// Normalisation before attention.
    pub norm: LayerNorm,
    /// Queries, keys and values, interleaved by head.
    pub qkv: Linear,
    /// Projection of the joined heads.
    pub proj: Linear,
    /// Biases `[heads, window * window]`, indexed by `|rows| * window + |columns|`.
    pub attention_biases: Param<Tensor<2>>,
    heads: usize,
}

impl TinyAttention {
    fn new(dim: usize, heads: usize, window: usize, device: &Device) -> Self {
        Self {
            norm: LayerNormConfig::new(dim).init(device),
            qkv: LinearConfig::new(dim, 3 * dim).init(device),
            proj: LinearConfig::new(dim, dim).init(device),
            attention_biases: Initializer::Zeros.init([heads, window * window], device),
            heads,
        }
    }

    /// # Shapes
    /// - input and output: `[windows, window, window, dim]`
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let [windows, window, _, dim] = input.dims();
        let (tokens, head_dim) = (window * window, dim / self.heads);
        let qkv = self
            .qkv
            .forward(self.norm.forward(input))
            .reshape([windows, tokens, self.heads, 3 * head_dim])
            .swap_dims(1, 2);
        let [q, k, v] = [0, 1, 2].map(|i| qkv.clone().narrow(3, i * head_dim, head_dim));
        drop(qkv);
        let bias = ScoreBias::PerHead(self.bias(window));
        let attended = attention(q, k, v, (head_dim as f64).powf(-0.5), Some(bias));
        let joined = attended
            .swap_dims(1, 2)
            .reshape([windows, window, window, dim]);
        self.proj.forward(joined)
    }

    /// # Shapes
    /// - output: `[heads, tokens, tokens]`
    fn bias(&self, window: usize) -> Tensor<3> {
        let biases = self.attention_biases.val();
        let cell = |i: usize| (i / window, i % window);
        let tokens = window * window;
        let indices = (0..tokens * tokens).map(|i| {
            let ((row, column), (key_row, key_column)) = (cell(i / tokens), cell(i % tokens));
            (row.abs_diff(key_row) * window + column.abs_diff(key_column)) as i32
        });
        let indices = TensorData::new(indices.collect::<Vec<i32>>(), [tokens * tokens]);
        let indices = Tensor::<1, Int>::from_data(indices, &biases.device());
        biases
            .select(1, indices)
            .reshape([self.heads, tokens, tokens])
    }
}

/// Normalisation, then two layers with GELU between them.
#[derive(Module, Debug)]
pub struct TinyMlp {
    /// Normalisation before the layers.
    pub norm: LayerNorm,
    /// Maps to the hidden channels.
    pub fc1: Linear,
    /// Maps back to the outer channels.
    pub fc2: Linear,
}

impl TinyMlp {
    fn new(dim: usize, hidden: usize, device: &Device) -> Self {
        Self {
            norm: LayerNormConfig::new(dim).init(device),
            fc1: LinearConfig::new(dim, hidden).init(device),
            fc2: LinearConfig::new(hidden, dim).init(device),
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.fc2
            .forward(gelu(self.fc1.forward(self.norm.forward(input))))
    }
}
