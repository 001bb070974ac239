//! The two-way transformer of the mask decoder (upstream: `transformer.py`).
//!
//! In: tokens (outputs and prompts) and the image embedding. Out: both, after attending to each other. The image keeps
//! batch 1 as long as it is the same for all prompts, so whatever depends only on it is computed once. On the CPU, if
//! there are few tokens, it is updated in tiles instead, prompt by prompt ([`super::cell_tiles`]).

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig};
use burn::tensor::{Device, Tensor};

use super::cell_tiles::TiledCells;
use super::config::DecoderConfig;
use super::decoder_attention::DecoderAttention;
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
        let attention = &self.final_attn_token_to_image;
        if attention.is_absorbed(&tokens) {
            return self.in_tiles(image, image_position, tokens);
        }
        self.at_once(image, image_position, tokens)
    }

    /// As [`TwoWayTransformer::forward`], on every device.
    fn at_once(
        &self,
        image: Tensor<3>,
        image_position: Tensor<3>,
        tokens: Tensor<3>,
    ) -> (Tensor<3>, Tensor<3>) {
        let attention = &self.final_attn_token_to_image;
        let mut queries = tokens.clone();
        let mut keys = image;
        for layer in &self.layers {
            (queries, keys) = layer.forward(queries, keys, &tokens, &image_position);
        }
        let placed = queries.clone() + tokens;
        let attended = attention.token_to_image(placed, keys.clone(), &image_position);
        (self.norm_final_attn.forward(queries + attended), keys)
    }

    /// As [`TwoWayTransformer::forward`]. Each pass over the image's cells updates them for a block and has the tokens of
    /// the next one look at them.
    fn in_tiles(
        &self,
        image: Tensor<3>,
        image_position: Tensor<3>,
        tokens: Tensor<3>,
    ) -> (Tensor<3>, Tensor<3>) {
        let ([images, count, dim], device) = (image.dims(), image.device());
        let [batch, ..] = tokens.dims();
        let (mut queries, attention) = self.asked(0, tokens.clone(), &tokens);
        let placed = queries.clone() + tokens.clone();
        let mut seen = match images {
            1 => attention.token_to_image(placed, image.clone(), &image_position),
            _ => attention.token_to_cells(placed, &image, &image_position),
        };
        let mut cells = TiledCells::new(&image, &image_position);
        drop(image);
        for (at, layer) in self.layers.iter().enumerate() {
            let updating = layer.after_look(queries, seen);
            let placed = updating.clone() + tokens.clone();
            let update = &layer.cross_attn_image_to_token;
            let update = update.update_of(placed, updating.clone(), &layer.norm4);
            let (asked, attention) = self.asked(at + 1, updating, &tokens);
            let look = attention.look_of(asked.clone() + tokens.clone());
            let (updated, mixed) = cells.pass(&update, &look);
            (queries, seen, cells) = (asked, attention.seen_of(mixed), updated);
        }
        let cells = cells.into_tensor([batch, count, dim], &device);
        (self.norm_final_attn.forward(queries + seen), cells)
    }

    /// The tokens as they look at the image in a block, or after the last one, and the attention by which they do.
    fn asked(
        &self,
        layer: usize,
        queries: Tensor<3>,
        token_position: &Tensor<3>,
    ) -> (Tensor<3>, &DecoderAttention) {
        match self.layers.get(layer) {
            Some(layer) => (
                layer.among_tokens(queries, token_position),
                &layer.cross_attn_token_to_image,
            ),
            None => (queries, &self.final_attn_token_to_image),
        }
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
        let queries = self.among_tokens(queries, token_position);
        let placed = queries.clone() + token_position.clone();
        let attention = &self.cross_attn_token_to_image;
        let seen = attention.token_to_image(placed, keys.clone(), image_position);
        let queries = self.after_look(queries, seen);
        let placed = queries.clone() + token_position.clone();
        let attention = &self.cross_attn_image_to_token;
        let seen = attention.image_to_token(keys.clone(), image_position, placed, queries.clone());
        let keys = self.norm4.forward(keys + seen);
        (queries, keys)
    }

    /// Self-attention among tokens.
    fn among_tokens(&self, queries: Tensor<3>, token_position: &Tensor<3>) -> Tensor<3> {
        // In the first block, tokens are their own position, and attention replaces them instead of being added.
        let queries = if self.is_first {
            self.self_attn.among_tokens(queries.clone(), queries)
        } else {
            let placed = queries.clone() + token_position.clone();
            queries.clone() + self.self_attn.among_tokens(placed, queries)
        };
        self.norm1.forward(queries)
    }

    /// Adds to the tokens what they have seen of the image, and applies the MLP.
    fn after_look(&self, queries: Tensor<3>, seen: Tensor<3>) -> Tensor<3> {
        let queries = self.norm2.forward(queries + seen);
        let mlp = self.mlp.forward(queries.clone());
        self.norm3.forward(queries + mlp)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;

    fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
    }

    fn difference(found: Tensor<3>, expected: Tensor<3>) -> f32 {
        assert_eq!(found.dims(), expected.dims());
        (found - expected).abs().max().into_scalar::<f32>()
    }

    #[test]
    fn tiles_make_no_difference() {
        // Two tiles and a part of one; the same image for all prompts, and one for each.
        let cells = 300;
        for heads in [4, 8] {
            let config = DecoderConfig {
                heads,
                mlp_dim: 64,
                ..DecoderConfig::default()
            };
            let dim = 128;
            let transformer = TwoWayTransformer::new(dim, &config, &Device::flex());
            for [images, batch] in [[1, 1], [1, 3], [3, 3]] {
                let image = random([images, cells, dim]);
                let position = random([1, cells, dim]);
                let tokens = random([batch, 7, dim]);
                assert!(transformer.final_attn_token_to_image.is_absorbed(&tokens));
                let args = || (image.clone(), position.clone(), tokens.clone());
                let (image, position, tokens) = args();
                let (found_tokens, found_cells) = transformer.in_tiles(image, position, tokens);
                let (image, position, tokens) = args();
                let (tokens, cells) = transformer.at_once(image, position, tokens);
                let tokens = difference(found_tokens, tokens);
                let cells = difference(found_cells, cells);
                assert!(tokens < 1e-5 && cells < 1e-5, "{tokens} {cells}");
            }
        }
    }
}
