//! CLIP's text tower (upstream: `CLIP.encode_text` in openai/CLIP, `clip/model.py`).

use burn::module::{Initializer, Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::config::{ClipConfig, TextTowerConfig};
use super::image_tower::EPSILON;
use crate::models::layers::{VitBlock, VitBlockConfig};

/// CLIP's text tower.
#[derive(Module, Debug)]
pub struct TextTower {
    /// A vector per token of the vocabulary, `[vocabulary, width]`.
    pub token_embedding: Param<Tensor<2>>,
    /// Positions, `[context, width]`.
    pub positional_embedding: Param<Tensor<2>>,
    /// Transformer blocks, in which a token attends to itself and to those before it.
    pub blocks: Vec<VitBlock>,
    /// Normalisation after the blocks.
    pub ln_final: LayerNorm,
    /// Projection to the space of images and texts, `[width, dim]`.
    pub text_projection: Param<Tensor<2>>,
    #[module(skip)]
    config: TextTowerConfig,
}

impl TextTower {
    /// Creates a tower with random weights.
    pub(super) fn new(clip: &ClipConfig, config: &TextTowerConfig, device: &Device) -> Self {
        let width = config.width;
        let block = VitBlockConfig {
            dim: width,
            heads: config.heads,
            hidden: config.mlp_dim,
            epsilon: EPSILON,
            activation: clip.activation,
            has_layer_scale: false,
        };
        let zeros = |rows: usize, columns: usize| -> Param<Tensor<2>> {
            Initializer::Zeros.init([rows, columns], device)
        };
        Self {
            token_embedding: zeros(config.vocabulary, width),
            positional_embedding: zeros(config.context, width),
            blocks: (0..config.layers)
                .map(|_| VitBlock::new(&block, device))
                .collect(),
            ln_final: LayerNormConfig::new(width)
                .with_epsilon(EPSILON)
                .init(device),
            text_projection: zeros(width, clip.dim),
            config: config.clone(),
        }
    }

    /// The sizes that this tower was built with.
    pub fn config(&self) -> &TextTowerConfig {
        &self.config
    }

    /// The vector of one text, not normalised.
    ///
    /// `ids` begin with the start token and end with the end token. Upstream pads texts to the context; as attention
    /// only looks back and the vector is that of the end token, padding changes nothing.
    ///
    /// # Shapes
    /// - output: `[dim]`
    pub fn forward(&self, ids: &[u32]) -> Tensor<1> {
        let table = self.token_embedding.val();
        let device = table.device();
        let count = ids.len().min(self.config.context);
        let kept: Vec<i64> = ids.iter().take(count).map(|id| i64::from(*id)).collect();
        // The end token has the highest id (upstream: `text.argmax(dim=-1)`).
        let end = kept.iter().copied().max();
        let end = kept.iter().position(|id| Some(*id) == end).unwrap_or(0);
        let kept = Tensor::<1, Int>::from_data(TensorData::new(kept, [count]), &device);
        let tokens = table.select(0, kept) + self.positional_embedding.val().narrow(0, 0, count);
        let mut tokens = tokens.unsqueeze::<3>();
        let mask = looking_back(count, self.config.heads, &device).cast(tokens.dtype());
        for block in &self.blocks {
            tokens = block.forward(tokens, Some(mask.clone()));
        }
        let text = self.ln_final.forward(tokens.narrow(1, end, 1));
        let text = text.squeeze_dim::<2>(1).matmul(self.text_projection.val());
        text.squeeze_dim::<1>(0)
    }
}

/// Minus infinity where a token would look ahead, else 0.
///
/// # Shapes
/// - output: `[heads, tokens, tokens]`
fn looking_back(tokens: usize, heads: usize, device: &Device) -> Tensor<3> {
    let row =
        |at: usize| (0..tokens).map(move |key| if key > at { f32::NEG_INFINITY } else { 0.0 });
    let mask: Vec<f32> = (0..tokens).flat_map(row).collect();
    let mask = Tensor::<3>::from_data(TensorData::new(mask, [1, tokens, tokens]), device);
    mask.expand([heads, tokens, tokens])
}
