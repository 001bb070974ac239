//! What HQ-SAM adds to the mask decoder: one more token and, for each prompt, one more mask at the decoder's size, whose logits
//! are added to those of the others (upstream: sam-hq, `mask_decoder_hq.py`).

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Embedding, EmbeddingConfig, PaddingConfig2d};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};

use super::decoder_mlp::{DecoderMlp, DecoderMlpSizes};
use super::upscaling::OutputUpscaling;
use crate::models::layers::{LayerNorm2d, gelu};

/// What HQ-SAM adds to the mask decoder.
#[derive(Module, Debug)]
pub struct HqDecoder {
    /// The token that the mask is predicted from.
    pub hf_token: Embedding,
    /// From the token to weights over features.
    pub hf_mlp: DecoderMlp,
    /// Brings early features of the image encoder to the size of the masks.
    pub compress_vit_feat: OutputUpscaling,
    /// Does the same with the image embedding.
    pub embedding_encoder: OutputUpscaling,
    /// Changes the features of which masks are made.
    pub embedding_maskfeature: MaskFeature,
}

impl HqDecoder {
    /// Creates the layers for image embeddings of `dim` channels and early features of `vit_dim`, with random weights.
    pub(super) fn new(dim: usize, vit_dim: usize, device: &Device) -> Self {
        let mlp = DecoderMlpSizes::of_token(dim, dim / 8);
        Self {
            hf_token: EmbeddingConfig::new(1, dim).init(device),
            hf_mlp: DecoderMlp::new(mlp, device),
            compress_vit_feat: OutputUpscaling::new([vit_dim, dim, dim / 8], device),
            embedding_encoder: OutputUpscaling::new([dim, dim / 4, dim / 8], device),
            embedding_maskfeature: MaskFeature::new(dim / 8, dim / 4, device),
        }
    }

    /// The features that are the same for all prompts on an image.
    ///
    /// # Shapes
    /// - embedding: `[1, dim, grid, grid]`
    /// - early: `[1, vit_dim, grid, grid]`
    /// - output: `[1, dim / 8, 4 * grid, 4 * grid]`
    pub(super) fn features(&self, embedding: Tensor<4>, early: Tensor<4>) -> Tensor<4> {
        self.embedding_encoder.features(embedding) + self.compress_vit_feat.features(early)
    }

    /// The logits of a prompt's mask.
    ///
    /// # Shapes
    /// - token: `[1, dim]`, after the transformer
    /// - upscaled: the features of which the prompt's other masks are made, `[1, dim / 8, 4 * grid, 4 * grid]`
    /// - features: as [`HqDecoder::features`] gives them
    /// - output: `[1, 1, 4 * grid, 4 * grid]`
    pub(super) fn mask(
        &self,
        token: Tensor<2>,
        upscaled: Tensor<4>,
        features: Tensor<4>,
    ) -> Tensor<4> {
        let weights = self.hf_mlp.forward(token);
        let [_, channels, height, width] = features.dims();
        let of_image = weights
            .clone()
            .matmul(features.reshape([channels, height * width]))
            .reshape([1, 1, height, width]);
        self.embedding_maskfeature.weighted(upscaled, weights) + of_image
    }
}

/// Two convolutions of 3x3 pixels with a normalisation and GELU between them.
#[derive(Module, Debug)]
pub struct MaskFeature {
    /// Upstream: number 0 of the sequence.
    pub conv1: Conv2d,
    /// Upstream: number 1.
    pub norm: LayerNorm2d,
    /// Upstream: number 3.
    pub conv2: Conv2d,
}

impl MaskFeature {
    fn new(outer: usize, between: usize, device: &Device) -> Self {
        let conv = |from, to| {
            Conv2dConfig::new([from, to], [3, 3])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(device)
        };
        Self {
            conv1: conv(outer, between),
            norm: LayerNorm2d::new(between, device),
            conv2: conv(between, outer),
        }
    }

    /// The sum of the channels with weights. The second convolution is linear, so it is made with a single output, whose
    /// weights are sums of those of all.
    ///
    /// # Shapes
    /// - input: `[1, outer, height, width]`
    /// - weights: `[1, outer]`
    /// - output: `[1, 1, height, width]`
    fn weighted(&self, input: Tensor<4>, weights: Tensor<2>) -> Tensor<4> {
        let between = gelu(self.norm.forward(self.conv1.forward(input)));
        let conv = self.conv2.weight.val();
        let [outer, channels, height, width] = conv.dims();
        let conv = weights
            .clone()
            .matmul(conv.reshape([outer, channels * height * width]))
            .reshape([1, channels, height, width]);
        let bias = self.conv2.bias.as_ref();
        let bias = bias.map(|bias| weights.matmul(bias.val().unsqueeze_dim(1)).reshape([1]));
        conv2d(
            between,
            conv,
            bias,
            ConvOptions::new([1, 1], [1, 1], [1, 1], 1),
        )
    }
}
