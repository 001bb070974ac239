//! A block of SAM 3's image encoder (upstream: transformers, `Sam3ViTLayer` and `Sam3ViTRoPEAttention` of
//! `modeling_sam3.py`).

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::image_encoder::{window_partition, window_unpartition};
use super::sam3_config::Sam3VitConfig;
use crate::models::layers::{Activation, MlpBlock, attention};

/// Base of the frequencies of positions.
const THETA: f64 = 10_000.0;

/// A transformer block, whose queries and keys are turned by their positions.
#[derive(Module, Debug)]
pub struct Sam3Block {
    /// Normalisation before attention.
    pub norm1: LayerNorm,
    /// Self-attention.
    pub attn: Sam3Attention,
    /// Normalisation before the MLP.
    pub norm2: LayerNorm,
    /// Two layers with GELU between them.
    pub mlp: MlpBlock,
    #[module(skip)]
    window: Option<usize>,
}

/// Multi-head self-attention.
#[derive(Module, Debug)]
pub struct Sam3Attention {
    /// Joint projection to queries, keys and values.
    pub qkv: Linear,
    /// Projection of the joined heads.
    pub proj: Linear,
    heads: usize,
}

/// Turns of queries and keys by the positions of their tokens: pairs of channels are turned in their plane, the first half of them by
/// the column, the second half by the row.
#[derive(Clone, Debug)]
pub(super) struct Rotation {
    /// Cosine of each channel's angle, `[tokens, head_dim]`.
    cos: Tensor<2>,
    /// Sine of each channel's angle, negative in the first channel of a pair.
    sin: Tensor<2>,
}

impl Rotation {
    /// Of a square of `side` tokens whose positions go from 0 to `extent`.
    pub fn new(side: usize, extent: usize, head_dim: usize, device: &Device) -> Self {
        let pairs = head_dim / 2;
        let step = extent as f64 / side as f64;
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for token in 0..side * side {
            for pair in 0..pairs {
                let (of_axis, place) = if pair < pairs / 2 {
                    (pair, token % side)
                } else {
                    (pair - pairs / 2, token / side)
                };
                let frequency = THETA.powf(-(2.0 * of_axis as f64) / pairs as f64);
                let angle = (place as f64 * step) * frequency;
                cos.extend([angle.cos() as f32; 2]);
                sin.extend([-angle.sin() as f32, angle.sin() as f32]);
            }
        }
        let tensor = |values| {
            let data = TensorData::new(values, [side * side, head_dim]);
            Tensor::from_data(data, (device, DType::F32))
        };
        Self {
            cos: tensor(cos),
            sin: tensor(sin),
        }
    }

    /// # Shapes
    /// - input and output: `[batch, tokens, heads, head_dim]`
    fn turn(&self, input: Tensor<4>) -> Tensor<4> {
        let dtype = input.dtype();
        let [batch, tokens, heads, head_dim] = input.dims();
        let input = input.cast(DType::F32);
        let pairs = input
            .clone()
            .reshape([batch * tokens * heads * head_dim / 2, 2]);
        let swapped = pairs.flip([1]).reshape([batch, tokens, heads, head_dim]);
        let of_tokens = |angles: &Tensor<2>| angles.clone().reshape([1, tokens, 1, head_dim]);
        (input * of_tokens(&self.cos) + swapped * of_tokens(&self.sin)).cast(dtype)
    }
}

impl Sam3Block {
    pub(super) fn new(config: &Sam3VitConfig, index: usize, device: &Device) -> Self {
        let dim = config.embed_dim;
        let norm = LayerNormConfig::new(dim).with_epsilon(config.epsilon);
        let is_global = config.global_attention_blocks.contains(&index);
        Self {
            norm1: norm.init(device),
            attn: Sam3Attention {
                qkv: LinearConfig::new(dim, 3 * dim).init(device),
                proj: LinearConfig::new(dim, dim).init(device),
                heads: config.heads,
            },
            norm2: norm.init(device),
            mlp: MlpBlock::new(dim, config.mlp_dim, Activation::Gelu, device),
            window: (!is_global).then_some(config.window_size),
        }
    }

    /// `whole` turns the tokens of an image, `in_windows` those of a window.
    ///
    /// # Shapes
    /// - input and output: `[batch, rows, columns, dim]`
    pub(super) fn forward(
        &self,
        input: Tensor<4>,
        whole: &Rotation,
        in_windows: &Rotation,
    ) -> Tensor<4> {
        let normed = self.norm1.forward(input.clone());
        let attended = match self.window {
            None => self.attn.forward(normed, whole),
            Some(window) => {
                let [batch, rows, columns, _] = normed.dims();
                let windows = window_partition(normed, window);
                let windows = self.attn.forward(windows, in_windows);
                window_unpartition(windows, [batch, rows, columns])
            }
        };
        let residual = input + attended;
        let mlp = self.mlp.forward(self.norm2.forward(residual.clone()));
        residual + mlp
    }
}

impl Sam3Attention {
    /// # Shapes
    /// - input and output: `[batch, rows, columns, dim]`
    fn forward(&self, input: Tensor<4>, rotation: &Rotation) -> Tensor<4> {
        let [batch, rows, columns, dim] = input.dims();
        let (tokens, head_dim) = (rows * columns, dim / self.heads);
        let qkv = self.qkv.forward(input);
        let [queries, keys, values] = [0, 1, 2].map(|i| {
            let part = qkv.clone().narrow(3, i * dim, dim);
            part.reshape([batch, tokens, self.heads, head_dim])
        });
        drop(qkv);
        let attended = attention(
            rotation.turn(queries).swap_dims(1, 2),
            rotation.turn(keys).swap_dims(1, 2),
            values.swap_dims(1, 2),
            (head_dim as f64).powf(-0.5),
            None,
        );
        let joined = attended
            .swap_dims(1, 2)
            .reshape([batch, rows, columns, dim]);
        self.proj.forward(joined)
    }
}
