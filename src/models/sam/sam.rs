//! The complete model: image encoder, prompt encoder and mask decoder (upstream: `sam.py`).

use burn::module::{Initializer, Module, Param};
use burn::tensor::module::linear;
use burn::tensor::{Device, Tensor};

use super::config::{EncoderConfig, SamConfig};
use super::hiera::{Hiera, HieraFeatures};
use super::image_embedding::{Details, ImageEmbedding, by_cell};
use super::image_encoder::ImageEncoderVit;
use super::mask_decoder::{DecodedTokens, DecoderOutput, MaskDecoder};
use super::preprocess::PixelTransform;
use super::prompt_encoder::{PromptEncoder, Prompts};
use super::sam3_encoder::{Sam3Encoder, Sam3Features};
use super::tiny_vit::TinyVit;
use crate::models::error::Result;

/// Segment Anything.
#[derive(Module, Debug)]
pub struct Sam {
    /// Converts an image to its embedding.
    pub image_encoder: ImageEncoder,
    /// Converts prompts to embeddings.
    pub prompt_encoder: PromptEncoder,
    /// Converts embeddings to masks.
    pub mask_decoder: MaskDecoder,
    /// SAM 2's embedding of a picture that follows no others, `[1, 1, prompt_dim]`: added to the image embedding.
    pub no_mem_embed: Option<Param<Tensor<3>>>,
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
    /// The encoder of SAM 2.
    Hiera(Hiera),
    /// The encoder of SAM 3.
    Sam3(Sam3Encoder),
}

impl SamConfig {
    /// Builds a model with random weights.
    ///
    /// # Errors
    /// [`crate::error::ModelError::ModelConfig`] if the sizes do not fit together.
    pub fn init(&self, device: &Device) -> Result<Sam> {
        self.check()?;
        Ok(Sam::new(self, device))
    }
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
            EncoderConfig::Hiera(hiera) => ImageEncoder::Hiera(Hiera::new(hiera, dim, device)),
            EncoderConfig::Sam3Vit(vit) => ImageEncoder::Sam3(Sam3Encoder::new(vit, dim, device)),
        };
        Self {
            image_encoder,
            prompt_encoder: PromptEncoder::new(config, device),
            mask_decoder: MaskDecoder::new(config, device),
            no_mem_embed: config
                .is_sam2_or_3()
                .then(|| Initializer::Zeros.init([1, 1, dim], device)),
            config: config.clone(),
        }
    }

    /// Has photos become the model's input in another way.
    #[must_use]
    pub fn with_pixels(mut self, pixels: PixelTransform) -> Self {
        self.config.pixels = pixels;
        self
    }

    /// The sizes that this model was built with.
    pub fn config(&self) -> &SamConfig {
        &self.config
    }

    /// Encodes an image. This is done once per image, whatever prompts follow.
    ///
    /// # Shapes
    /// - pixels: `[1, 3, image_size, image_size]`, as made by [`SamConfig::prepare`]
    pub fn encode_image(&self, pixels: Tensor<4>) -> ImageEmbedding {
        let pixels = pixels.cast(self.prompt_encoder.dtype());
        let (cells, early) = match &self.image_encoder {
            ImageEncoder::Vit(encoder) => encoder.forward(pixels),
            ImageEncoder::TinyVit(encoder) => encoder.forward(pixels),
            ImageEncoder::Hiera(encoder) => return self.with_details(encoder, pixels),
            ImageEncoder::Sam3(encoder) => return self.of_sam3(encoder, pixels),
        };
        let hq = self.mask_decoder.hq.as_ref().zip(early);
        ImageEmbedding {
            hq: hq.map(|(hq, early)| hq.features(cells.clone(), early)),
            cells,
            details: None,
        }
    }

    fn with_details(&self, encoder: &Hiera, pixels: Tensor<4>) -> ImageEmbedding {
        let HieraFeatures {
            mut embedding,
            eighths,
            quarters,
        } = encoder.forward(pixels);
        if let Some(no_mem_embed) = &self.no_mem_embed {
            embedding = embedding + no_mem_embed.val().unsqueeze();
        }
        let detail = |features: Tensor<4>, stage: usize, parts: usize| {
            let after = self.mask_decoder.detail_conv(stage)?;
            let (weight, bias) = encoder.neck.joined(stage, after)?;
            Some(by_cell(linear(features, weight, Some(bias)), parts))
        };
        let details = detail(eighths, 1, 2).zip(detail(quarters, 0, 4));
        ImageEmbedding {
            cells: embedding.permute([0, 3, 1, 2]),
            details: details.map(|(eighths, quarters)| Details { eighths, quarters }),
            hq: None,
        }
    }

    fn of_sam3(&self, encoder: &Sam3Encoder, pixels: Tensor<4>) -> ImageEmbedding {
        let detail_convs = [0, 1].map(|stage| self.mask_decoder.detail_conv(stage));
        let Sam3Features {
            mut embedding,
            quarters,
            sixteenths,
        } = encoder.forward(pixels, detail_convs);
        if let Some(no_mem_embed) = &self.no_mem_embed {
            embedding = embedding + no_mem_embed.val().swap_dims(1, 2).unsqueeze_dim(3);
        }
        ImageEmbedding {
            cells: embedding,
            details: Some(Details {
                eighths: by_cell(quarters.permute([0, 2, 3, 1]), 2),
                quarters: by_cell(sixteenths.permute([0, 2, 3, 1]), 4),
            }),
            hq: None,
        }
    }

    /// Decodes the masks of a batch of prompts on one image.
    ///
    /// # Shapes
    /// - output: see [`DecoderOutput`]
    pub fn decode(&self, image: ImageEmbedding, prompts: &Prompts) -> DecoderOutput {
        self.mask_decoder.forward(
            image,
            self.prompt_encoder.dense_position(),
            self.prompt_encoder.forward(prompts),
        )
    }

    /// The steps of [`Sam::decode`] before any mask, for [`Sam::masks`].
    pub fn decode_tokens(&self, image: ImageEmbedding, prompts: &Prompts) -> DecodedTokens {
        self.mask_decoder.tokens(
            image,
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
