//! The complete model: image encoder, prompt encoder and mask decoder (upstream: `sam.py`).

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::config::{EncoderConfig, SamConfig};
use super::image_encoder::ImageEncoderVit;
use super::mask_decoder::{DecodedTokens, DecoderOutput, MaskDecoder};
use super::prompt_encoder::{PromptEncoder, Prompts};
use super::tiny_vit::TinyVit;

/// Segment Anything.
#[derive(Module, Debug)]
pub struct Sam {
    /// Converts an image to its embedding.
    pub image_encoder: ImageEncoder,
    /// Converts prompts to embeddings.
    pub prompt_encoder: PromptEncoder,
    /// Converts embeddings to masks.
    pub mask_decoder: MaskDecoder,
    #[module(skip)]
    config: SamConfig,
}

/// One of the supported image encoders.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // there is one per model
pub enum ImageEncoder {
    /// The encoder of Segment Anything.
    Vit(ImageEncoderVit),
    /// The encoder of MobileSAM.
    TinyVit(TinyVit),
}

impl Sam {
    /// Builds a model without checking that its sizes fit together; [`SamConfig::init`] checks them.
    pub(super) fn new(config: &SamConfig, device: &Device) -> Self {
        let (grid, dim) = (config.grid_size(), config.prompt_dim);
        let image_encoder = match &config.encoder {
            EncoderConfig::Vit(vit) => {
                ImageEncoder::Vit(ImageEncoderVit::new(vit, grid, dim, device))
            }
            EncoderConfig::TinyVit(tiny) => ImageEncoder::TinyVit(TinyVit::new(tiny, dim, device)),
        };
        Self {
            image_encoder,
            prompt_encoder: PromptEncoder::new(config, device),
            mask_decoder: MaskDecoder::new(config, device),
            config: config.clone(),
        }
    }

    /// The sizes that this model was built with.
    pub fn config(&self) -> &SamConfig {
        &self.config
    }

    /// Encodes images. This is done once per image, whatever prompts follow.
    ///
    /// # Shapes
    /// - pixels: `[batch, 3, image_size, image_size]`, as made by `preprocess`
    /// - output: `[batch, prompt_dim, grid, grid]`
    pub fn encode_image(&self, pixels: Tensor<4>) -> Tensor<4> {
        let pixels = pixels.cast(self.prompt_encoder.dtype());
        match &self.image_encoder {
            ImageEncoder::Vit(encoder) => encoder.forward(pixels),
            ImageEncoder::TinyVit(encoder) => encoder.forward(pixels),
        }
    }

    /// Decodes the masks of a batch of prompts on one image.
    ///
    /// # Shapes
    /// - image_embedding: `[1, prompt_dim, grid, grid]`
    /// - output: see [`DecoderOutput`]
    pub fn decode(&self, image_embedding: Tensor<4>, prompts: &Prompts) -> DecoderOutput {
        self.mask_decoder.forward(
            image_embedding,
            self.prompt_encoder.dense_position(),
            self.prompt_encoder.forward(prompts),
        )
    }

    /// The steps of [`Sam::decode`] before any mask, for [`Sam::masks`].
    ///
    /// # Shapes
    /// - image_embedding: `[1, prompt_dim, grid, grid]`
    pub fn decode_tokens(&self, image_embedding: Tensor<4>, prompts: &Prompts) -> DecodedTokens {
        self.mask_decoder.tokens(
            image_embedding,
            self.prompt_encoder.dense_position(),
            self.prompt_encoder.forward(prompts),
        )
    }

    /// The masks of some outputs, whose predicted IoU is known before any mask is made. `outputs` names the wanted outputs of
    /// each prompt, as many for every prompt, one prompt after the other.
    ///
    /// # Shapes
    /// - output: `[batch, outputs of a prompt, 4 * grid, 4 * grid]`, logits as those of [`DecoderOutput::masks`]
    pub fn masks(&self, decoded: DecodedTokens, outputs: &[usize]) -> Tensor<4> {
        self.mask_decoder.masks(decoded, outputs)
    }
}
