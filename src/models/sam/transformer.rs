//! The two-way transformer of the mask decoder (upstream: `transformer.py`).
//!
//! In: tokens (outputs and prompts) and the image embedding. Out: both, after attending to each other. The image keeps
//! batch 1 as long as it is the same for all prompts, so whatever depends only on it is computed once.

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use super::config::DecoderConfig;
use crate::models::layers::attention;
use crate::models::layers::{Activation, MlpBlock};

/// A transformer in which tokens and image attend to each other.
#[derive(Module, Debug)]
pub struct TwoWayTransformer {
    /// The blocks.
    pub layers: Vec<TwoWayAttentionBlock>,
    /// Final attention from tokens to the image.
    pub final_attn_token_to_image: DecoderAttention,
    /// Normalisation after the final attention.
    pub norm_final_attn: LayerNorm,
}

impl TwoWayTransformer {
    /// Creates a transformer over `dim` channels, with random weights.
    pub fn new(dim: usize, config: &DecoderConfig, device: &Device) -> Self {
        let layers = (0..config.depth)
            .map(|i| TwoWayAttentionBlock::new(dim, config, i == 0, device))
            .collect();
        let downsample = config.attention_downsample;
        Self {
            layers,
            final_attn_token_to_image: DecoderAttention::new(dim, config.heads, downsample, device),
            norm_final_attn: LayerNormConfig::new(dim).init(device),
        }
    }

    /// Lets tokens and image attend to each other; returns both.
    ///
    /// # Shapes
    /// - image: `[batch or 1, cells, dim]`
    /// - image_position: `[1, cells, dim]`
    /// - tokens: `[batch, tokens, dim]`, which also serve as their own position
    /// - output: tokens `[batch, tokens, dim]`, image `[batch, cells, dim]`
    pub fn forward(
        &self,
        image: Tensor<3>,
        image_position: Tensor<3>,
        tokens: Tensor<3>,
    ) -> (Tensor<3>, Tensor<3>) {
        let mut queries = tokens.clone();
        let mut keys = image;
        for layer in &self.layers {
            (queries, keys) = layer.forward(queries, keys, &tokens, &image_position);
        }
        let attended = self.final_attn_token_to_image.token_to_image(
            queries.clone() + tokens,
            keys.clone(),
            &image_position,
        );
        (self.norm_final_attn.forward(queries + attended), keys)
    }
}

/// A block of self-attention among tokens, attention from tokens to image, an MLP on tokens, and attention from image
/// to tokens.
#[derive(Module, Debug)]
pub struct TwoWayAttentionBlock {
    /// Self-attention among tokens.
    pub self_attn: DecoderAttention,
    /// Normalisation after self-attention.
    pub norm1: LayerNorm,
    /// Attention from tokens to the image.
    pub cross_attn_token_to_image: DecoderAttention,
    /// Normalisation after attention to the image.
    pub norm2: LayerNorm,
    /// Two layers with ReLU between them, applied to tokens.
    pub mlp: MlpBlock,
    /// Normalisation after the MLP.
    pub norm3: LayerNorm,
    /// Normalisation of the image after its attention to tokens.
    pub norm4: LayerNorm,
    /// Attention from the image to tokens.
    pub cross_attn_image_to_token: DecoderAttention,
    is_first: bool,
}

impl TwoWayAttentionBlock {
    fn new(dim: usize, config: &DecoderConfig, is_first: bool, device: &Device) -> Self {
        let norm = LayerNormConfig::new(dim);
        let (heads, downsample) = (config.heads, config.attention_downsample);
        Self {
            self_attn: DecoderAttention::new(dim, heads, 1, device),
            norm1: norm.init(device),
            cross_attn_token_to_image: DecoderAttention::new(dim, heads, downsample, device),
            norm2: norm.init(device),
            mlp: MlpBlock::new(dim, config.mlp_dim, Activation::Relu, device),
            norm3: norm.init(device),
            norm4: norm.init(device),
            cross_attn_image_to_token: DecoderAttention::new(dim, heads, downsample, device),
            is_first,
        }
    }

    fn forward(
        &self,
        queries: Tensor<3>,
        keys: Tensor<3>,
        token_position: &Tensor<3>,
        image_position: &Tensor<3>,
    ) -> (Tensor<3>, Tensor<3>) {
        // In the first block, tokens are their own position, and attention replaces them instead of being added.
        let queries = if self.is_first {
            self.self_attn.among_tokens(queries.clone(), queries)
        } else {
            let placed = queries.clone() + token_position.clone();
            queries.clone() + self.self_attn.among_tokens(placed, queries)
        };
        let queries = self.norm1.forward(queries);

        let placed = queries.clone() + token_position.clone();
        let seen =
            self.cross_attn_token_to_image
                .token_to_image(placed, keys.clone(), image_position);
        let queries = self.norm2.forward(queries + seen);

        let mlp = self.mlp.forward(queries.clone());
        let queries = self.norm3.forward(queries + mlp);

        let placed = queries.clone() + token_position.clone();
        let attention = &self.cross_attn_image_to_token;
        let seen = attention.image_to_token(keys.clone(), image_position, placed, queries.clone());
        let keys = self.norm4.forward(keys + seen);
        (queries, keys)
    }
}

/// Attention with fewer channels inside than outside.
#[derive(Module, Debug)]
pub struct DecoderAttention {
    /// Projection of queries.
    pub q_proj: Linear,
    /// Projection of keys.
    pub k_proj: Linear,
    /// Projection of values.
    pub v_proj: Linear,
    /// Projection back to the outer channels.
    pub out_proj: Linear,
    heads: usize,
}

impl DecoderAttention {
    fn new(dim: usize, heads: usize, downsample: usize, device: &Device) -> Self {
        let inner = dim / downsample;
        let into = LinearConfig::new(dim, inner);
        Self {
            q_proj: into.init(device),
            k_proj: into.init(device),
            v_proj: into.init(device),
            out_proj: LinearConfig::new(inner, dim).init(device),
            heads,
        }
    }

    fn among_tokens(&self, placed: Tensor<3>, tokens: Tensor<3>) -> Tensor<3> {
        let keys = self.k_proj.forward(placed.clone());
        self.mix(
            self.q_proj.forward(placed),
            keys,
            self.v_proj.forward(tokens),
        )
    }

    fn token_to_image(
        &self,
        placed: Tensor<3>,
        image: Tensor<3>,
        position: &Tensor<3>,
    ) -> Tensor<3> {
        let keys = project_placed(&self.k_proj, image.clone(), position);
        self.mix(
            self.q_proj.forward(placed),
            keys,
            self.v_proj.forward(image),
        )
    }

    fn image_to_token(
        &self,
        image: Tensor<3>,
        position: &Tensor<3>,
        placed: Tensor<3>,
        tokens: Tensor<3>,
    ) -> Tensor<3> {
        let queries = project_placed(&self.q_proj, image, position);
        self.mix(
            queries,
            self.k_proj.forward(placed),
            self.v_proj.forward(tokens),
        )
    }

    /// # Shapes
    /// - queries: `[batch or 1, queries, inner]`; keys, values: `[batch or 1, keys, inner]`
    /// - output: `[batch, queries, dim]`
    fn mix(&self, queries: Tensor<3>, keys: Tensor<3>, values: Tensor<3>) -> Tensor<3> {
        let [.., inner] = queries.dims();
        let head_dim = inner / self.heads;
        let [queries, keys, values] = [queries, keys, values].map(|it| {
            let [batch, length, _] = it.dims();
            it.reshape([batch, length, self.heads, head_dim])
                .swap_dims(1, 2)
        });
        let mixed = attention(queries, keys, values, (head_dim as f64).powf(-0.5), None);
        let [batch, _, length, _] = mixed.dims();
        self.out_proj
            .forward(mixed.swap_dims(1, 2).reshape([batch, length, inner]))
    }
}

/// `linear(image + position)`, computed as two projections: that of the position has batch 1, so no sum of the size of
/// the complete image batch is needed.
fn project_placed(linear: &Linear, image: Tensor<3>, position: &Tensor<3>) -> Tensor<3> {
    let [batch, ..] = image.dims();
    if batch == 1 {
        return linear.forward(image + position.clone());
    }
    burn::tensor::module::linear(image, linear.weight.val(), None)
        + linear.forward(position.clone())
}
