//! A block of Hiera (upstream: `MultiScaleBlock` and `MultiScaleAttention` of `hieradet.py`).

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use super::hiera_config::HieraBlockConfig;
use super::image_encoder::{window_partition, window_unpartition};
use crate::models::layers::{Activation, LAYER_NORM_EPSILON, MlpBlock, attention};

/// Hidden channels of a block's MLP, as a multiple of the block's.
const MLP_RATIO: usize = 4;

/// A transformer block, which may halve rows and columns.
#[derive(Module, Debug)]
pub struct HieraBlock {
    /// Normalisation before attention.
    pub norm1: LayerNorm,
    /// Self-attention.
    pub attn: HieraAttention,
    /// Normalisation before the MLP.
    pub norm2: LayerNorm,
    /// Two layers with GELU between them.
    pub mlp: MlpBlock,
    /// Brings the input to the channels of the output, where these are others.
    pub proj: Option<Linear>,
    #[module(skip)]
    window: Option<usize>,
    is_pooling: bool,
}

impl HieraBlock {
    pub(super) fn new(config: &HieraBlockConfig, device: &Device) -> Self {
        let HieraBlockConfig { from, to, .. } = *config;
        let norm = |dim| {
            LayerNormConfig::new(dim)
                .with_epsilon(LAYER_NORM_EPSILON)
                .init(device)
        };
        Self {
            norm1: norm(from),
            attn: HieraAttention {
                qkv: LinearConfig::new(from, 3 * to).init(device),
                proj: LinearConfig::new(to, to).init(device),
                heads: config.heads,
                is_pooling: config.is_pooling,
            },
            norm2: norm(to),
            mlp: MlpBlock::new(to, MLP_RATIO * to, Activation::Gelu, device),
            proj: (from != to).then(|| LinearConfig::new(from, to).init(device)),
            window: config.window,
            is_pooling: config.is_pooling,
        }
    }

    /// # Shapes
    /// - input: `[batch, rows, columns, from]`
    /// - output: `[batch, rows, columns, to]`, of half the rows and columns if the block halves them
    pub(super) fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let normed = self.norm1.forward(input.clone());
        let mut shortcut = match &self.proj {
            Some(proj) => proj.forward(normed.clone()),
            None => input,
        };
        if self.is_pooling {
            shortcut = pooled(shortcut);
        }
        let attended = match self.window {
            None => self.attn.forward(normed),
            Some(window) => {
                let [batch, rows, columns, _] = shortcut.dims();
                let windows = self.attn.forward(window_partition(normed, window));
                window_unpartition(windows, [batch, rows, columns])
            }
        };
        let residual = shortcut + attended;
        let mlp = self.mlp.forward(self.norm2.forward(residual.clone()));
        residual + mlp
    }
}

/// Multi-head self-attention, in which a query may be made from four tokens.
#[derive(Module, Debug)]
pub struct HieraAttention {
    /// Joint projection to queries, keys and values.
    pub qkv: Linear,
    /// Projection of the joined heads.
    pub proj: Linear,
    heads: usize,
    is_pooling: bool,
}

impl HieraAttention {
    /// # Shapes
    /// - input: `[batch, rows, columns, from]`
    /// - output: `[batch, rows, columns, to]`, of half the rows and columns if queries are pooled
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let [batch, mut rows, mut columns, _] = input.dims();
        let tokens = rows * columns;
        let qkv = self.qkv.forward(input);
        let [.., joint] = qkv.dims();
        let (dim, head_dim) = (joint / 3, joint / 3 / self.heads);
        let [mut queries, keys, values] = [0, 1, 2].map(|i| qkv.clone().narrow(3, i * dim, dim));
        drop(qkv);
        if self.is_pooling {
            queries = pooled(queries);
            [_, rows, columns, _] = queries.dims();
        }
        let by_head = |part: Tensor<4>, count: usize| {
            part.reshape([batch, count, self.heads, head_dim])
                .swap_dims(1, 2)
        };
        let attended = attention(
            by_head(queries, rows * columns),
            by_head(keys, tokens),
            by_head(values, tokens),
            (head_dim as f64).powf(-0.5),
            None,
        );
        let joined = attended
            .swap_dims(1, 2)
            .reshape([batch, rows, columns, dim]);
        self.proj.forward(joined)
    }
}

/// The greatest of four neighbours in each channel.
///
/// # Shapes
/// - input: `[batch, rows, columns, channels]`
/// - output: `[batch, rows / 2, columns / 2, channels]`
fn pooled(input: Tensor<4>) -> Tensor<4> {
    let [batch, rows, columns, channels] = input.dims();
    let pairs = input.reshape([batch * rows * columns / 2, 2, channels]);
    let across = greater_of_pair(pairs);
    let pairs = across.reshape([batch * rows / 2, 2, columns / 2 * channels]);
    greater_of_pair(pairs).reshape([batch, rows / 2, columns / 2, channels])
}

/// # Shapes
/// - pairs: `[count, 2, length]`
/// - output: `[count, 1, length]`
fn greater_of_pair(pairs: Tensor<3>) -> Tensor<3> {
    pairs
        .clone()
        .narrow(1, 0, 1)
        .max_pair(pairs.narrow(1, 1, 1))
}
