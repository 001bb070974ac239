//! The text encoder: CLIP's text transformer, whose last hidden states the UNet looks at (transformers' `CLIPTextModel`).

use candle_core::{D, DType, Device, Module, Tensor};
use candle_nn::{Embedding, LayerNorm, Linear, VarBuilder, embedding, layer_norm, linear, ops};

use super::config::TextConfig;
use super::{failed, of_candle};
use crate::Result;

type Found<T> = candle_core::Result<T>;

/// The activation of its perceptrons.
#[derive(Debug, Clone, Copy)]
enum Activation {
    /// x sigmoid(1.702 x), of OpenAI's CLIP.
    QuickGelu,
    /// The Gaussian error linear unit.
    Gelu,
}

#[derive(Debug)]
struct Block {
    norm1: LayerNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    norm2: LayerNorm,
    wide: Linear,
    narrow: Linear,
}

/// The encoder.
#[derive(Debug)]
pub(super) struct TextEncoder {
    tokens: Embedding,
    positions: Embedding,
    blocks: Vec<Block>,
    last_norm: LayerNorm,
    activation: Activation,
    heads: usize,
    context: usize,
}

impl TextEncoder {
    /// Builds the encoder from weights under `text_model.`.
    pub fn new(config: &TextConfig, weights: VarBuilder<'_>) -> Result<Self> {
        let activation = match config.hidden_act.as_str() {
            "quick_gelu" => Activation::QuickGelu,
            "gelu" => Activation::Gelu,
            other => {
                return Err(failed(format!(
                    "the text encoder's activation '{other}' is not supported"
                )));
            }
        };
        Self::build(config, activation, weights.pp("text_model")).map_err(of_candle)
    }

    fn build(config: &TextConfig, activation: Activation, weights: VarBuilder<'_>) -> Found<Self> {
        let (width, eps) = (config.hidden_size, config.layer_norm_eps);
        let at = weights.pp("embeddings");
        let layers = weights.pp("encoder").pp("layers");
        let block = |n: usize| {
            let at = layers.pp(n);
            let (attention, mlp) = (at.pp("self_attn"), at.pp("mlp"));
            Ok(Block {
                norm1: layer_norm(width, eps, at.pp("layer_norm1"))?,
                query: linear(width, width, attention.pp("q_proj"))?,
                key: linear(width, width, attention.pp("k_proj"))?,
                value: linear(width, width, attention.pp("v_proj"))?,
                out: linear(width, width, attention.pp("out_proj"))?,
                norm2: layer_norm(width, eps, at.pp("layer_norm2"))?,
                wide: linear(width, config.intermediate_size, mlp.pp("fc1"))?,
                narrow: linear(config.intermediate_size, width, mlp.pp("fc2"))?,
            })
        };
        Ok(Self {
            tokens: embedding(config.vocab_size, width, at.pp("token_embedding"))?,
            positions: embedding(
                config.max_position_embeddings,
                width,
                at.pp("position_embedding"),
            )?,
            blocks: (0..config.num_hidden_layers)
                .map(block)
                .collect::<Found<_>>()?,
            last_norm: layer_norm(width, eps, weights.pp("final_layer_norm"))?,
            activation,
            heads: config.num_attention_heads,
            context: config.max_position_embeddings,
        })
    }

    /// Number of tokens of a text.
    pub fn context(&self) -> usize {
        self.context
    }

    /// The last hidden states of texts.
    ///
    /// # Shapes
    /// `ids`: one row of `context` ids each; the result is `[texts, context, width]`.
    pub fn forward(&self, ids: &[Vec<u32>], device: &Device) -> Result<Tensor> {
        self.encode(ids, device).map_err(of_candle)
    }

    fn encode(&self, ids: &[Vec<u32>], device: &Device) -> Found<Tensor> {
        let ids = Tensor::new(ids.to_vec(), device)?;
        let places = Tensor::arange(0u32, self.context as u32, device)?;
        let mut x = self
            .tokens
            .forward(&ids)?
            .broadcast_add(&self.positions.forward(&places)?)?;
        let mask = causal_mask(self.context, x.dtype(), device)?;
        for block in &self.blocks {
            let attended = self.attend(block, &block.norm1.forward(&x)?, &mask)?;
            x = (x + attended)?;
            let wide = block.wide.forward(&block.norm2.forward(&x)?)?;
            let wide = match self.activation {
                Activation::QuickGelu => (&wide * ops::sigmoid(&(&wide * 1.702)?)?)?,
                Activation::Gelu => wide.gelu_erf()?,
            };
            x = (x + block.narrow.forward(&wide)?)?;
        }
        self.last_norm.forward(&x)
    }

    fn attend(&self, block: &Block, x: &Tensor, mask: &Tensor) -> Found<Tensor> {
        let (texts, tokens, width) = x.dims3()?;
        let of_heads = |x: Tensor| {
            x.reshape((texts, tokens, self.heads, width / self.heads))?
                .transpose(1, 2)?
                .contiguous()
        };
        let scale = ((width / self.heads) as f64).powf(-0.5);
        let query = of_heads((block.query.forward(x)? * scale)?)?;
        let key = of_heads(block.key.forward(x)?)?;
        let value = of_heads(block.value.forward(x)?)?;
        let scores = query.matmul(&key.t()?)?.broadcast_add(mask)?;
        let weights = ops::softmax(&scores, D::Minus1)?;
        let mixed = weights.matmul(&value)?.transpose(1, 2)?.contiguous()?;
        block.out.forward(&mixed.reshape((texts, tokens, width))?)
    }
}

/// 0 where a token may look at another, the lowest number where it may not, because that comes later.
fn causal_mask(tokens: usize, dtype: DType, device: &Device) -> Found<Tensor> {
    let lowest = if dtype == DType::F16 {
        f32::from(half::f16::MIN)
    } else {
        f32::MIN
    };
    let values: Vec<f32> = (0..tokens * tokens)
        .map(|at| {
            if at % tokens > at / tokens {
                lowest
            } else {
                0.0
            }
        })
        .collect();
    Tensor::from_vec(values, (tokens, tokens), device)?.to_dtype(dtype)
}
