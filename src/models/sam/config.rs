//! All sizes of a Segment Anything model, so that small models are possible.
//!
//! In: nothing, or a published model's name. Out: the sizes; `SamConfig::init` builds the modules. `detect` derives the sizes from
//! a checkpoint's tensors.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::hiera_config::HieraConfig;
use super::preprocess::{ImageFrame, PIXEL_MEAN, PIXEL_STD, PixelTransform, PreparedImage};
use super::sam3_config::Sam3VitConfig;
use super::sizes::{MOST_LAYERS, require, require_windows};
use super::tiny_vit::TinyVitConfig;
use crate::geometry::Size;
use crate::models::error::{ModelError, Result};
use crate::options::is_default;

/// Pixels of the model input per cell of the image embedding, along each axis.
pub const PATCH_SIZE: usize = 16;

/// Limit on the side of the model input in pixels. Published models have 1024.
const MOST_PIXELS: usize = 16_384;

/// A published model, named as upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModelType {
    /// Segment Anything with a ViT-B encoder, 94 M parameters.
    VitB,
    /// Segment Anything with a ViT-L encoder, 312 M parameters.
    VitL,
    /// Segment Anything with a ViT-H encoder, 641 M parameters.
    VitH,
    /// MobileSAM: the same decoder behind a TinyViT encoder, 10 M parameters.
    VitT,
    /// SAM 2 or 2.1 with the smallest Hiera encoder, 31 M parameters for images.
    HieraTiny,
    /// SAM 2 or 2.1, 39 M parameters.
    HieraSmall,
    /// SAM 2 or 2.1, 73 M parameters.
    HieraBasePlus,
    /// SAM 2 or 2.1, 217 M parameters.
    HieraLarge,
    /// HQ-SAM: Segment Anything with one more mask, which is added to the others.
    HqVitB,
    /// HQ-SAM with a ViT-L encoder.
    HqVitL,
    /// HQ-SAM with a ViT-H encoder.
    HqVitH,
    /// Light HQ-SAM, behind a TinyViT encoder.
    HqVitT,
    /// The tracker of SAM 3, which segments at clicks as SAM 2 does; 457 M parameters.
    Sam3,
}

impl ModelType {
    /// Every published model.
    pub const ALL: [Self; 13] = [
        Self::VitB,
        Self::VitL,
        Self::VitH,
        Self::VitT,
        Self::HieraTiny,
        Self::HieraSmall,
        Self::HieraBasePlus,
        Self::HieraLarge,
        Self::HqVitB,
        Self::HqVitL,
        Self::HqVitH,
        Self::HqVitT,
        Self::Sam3,
    ];

    /// The name used for `--model-type` and in stores.
    pub fn name(self) -> &'static str {
        match self {
            Self::VitB => "vit_b",
            Self::VitL => "vit_l",
            Self::VitH => "vit_h",
            Self::VitT => "vit_t",
            Self::HieraTiny => "sam2_hiera_tiny",
            Self::HieraSmall => "sam2_hiera_small",
            Self::HieraBasePlus => "sam2_hiera_base_plus",
            Self::HieraLarge => "sam2_hiera_large",
            Self::HqVitB => "hq_vit_b",
            Self::HqVitL => "hq_vit_l",
            Self::HqVitH => "hq_vit_h",
            Self::HqVitT => "hq_vit_t",
            Self::Sam3 => "sam3",
        }
    }
}

impl fmt::Display for ModelType {
    /// Writes the name, such as `vit_b`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ModelType {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|model| model.name() == name)
            .ok_or_else(|| ModelError::UnknownModelType {
                found: name.to_owned(),
                expected: Self::ALL.map(Self::name).to_vec(),
            })
    }
}

/// The sizes of a complete model (upstream: `build_sam.py`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SamConfig {
    /// Side of the square model input in pixels, a multiple of [`SamConfig::patch_size`].
    pub image_size: usize,
    /// The image encoder.
    pub encoder: EncoderConfig,
    /// Channels of the image embedding, of every prompt and of every decoder token. Must be even.
    pub prompt_dim: usize,
    /// Channels inside the prompt encoder's mask path. Must be a multiple of 4.
    pub mask_channels: usize,
    /// The mask decoder.
    pub decoder: DecoderConfig,
    /// How photos become the input, for an encoder of [`EncoderConfig::Vit`] or [`EncoderConfig::TinyVit`].
    #[serde(default, skip_serializing_if = "is_default")]
    pub pixels: PixelTransform,
}

/// The kind of image encoder, with its sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncoderConfig {
    /// The plain vision transformer of Segment Anything.
    Vit(VitConfig),
    /// MobileSAM's TinyViT.
    TinyVit(TinyVitConfig),
    /// SAM 2's Hiera. Prompts, decoder and pixels then are SAM 2's, too.
    Hiera(HieraConfig),
    /// SAM 3's plain vision transformer. Prompts and decoder then are SAM 2's.
    Sam3Vit(Sam3VitConfig),
}

/// Sizes of the plain vision transformer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "SavedVitConfig")]
pub struct VitConfig {
    /// Channels of a token.
    pub embed_dim: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads. Must divide `embed_dim`.
    pub heads: usize,
    /// Hidden channels of a block's MLP.
    pub mlp_dim: usize,
    /// Side of an attention window in tokens.
    pub window_size: usize,
    /// Blocks that attend to the complete image, counted from 0. All other blocks are windowed.
    pub global_attention_blocks: Vec<usize>,
}

/// A [`VitConfig`] as files hold it: those of grainstore 0.1 give the MLP's channels as a multiple of the token's.
#[derive(Deserialize)]
struct SavedVitConfig {
    embed_dim: usize,
    depth: usize,
    heads: usize,
    mlp_dim: Option<usize>,
    #[serde(default)]
    mlp_ratio: usize,
    window_size: usize,
    global_attention_blocks: Vec<usize>,
}

impl From<SavedVitConfig> for VitConfig {
    fn from(saved: SavedVitConfig) -> Self {
        Self {
            embed_dim: saved.embed_dim,
            depth: saved.depth,
            heads: saved.heads,
            mlp_dim: saved
                .mlp_dim
                .unwrap_or_else(|| saved.mlp_ratio.saturating_mul(saved.embed_dim)),
            window_size: saved.window_size,
            global_attention_blocks: saved.global_attention_blocks,
        }
    }
}

/// Sizes of the mask decoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecoderConfig {
    /// Two-way attention blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden channels of a block's MLP.
    pub mlp_dim: usize,
    /// Divisor of the channels inside cross attention.
    pub attention_downsample: usize,
    /// Masks per prompt besides the single-mask output. Upstream uses 3, so there are 4 mask tokens.
    pub multimask_outputs: usize,
    /// Layers of the head that predicts the IoU.
    pub iou_head_depth: usize,
    /// Hidden channels of that head.
    pub iou_head_hidden: usize,
    /// Channels of the early features that HQ-SAM's decoder sees; `None` for any other model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hq_channels: Option<usize>,
}

impl DecoderConfig {
    /// Number of mask tokens: one for the single-mask output, then one per multimask output.
    pub fn mask_tokens(&self) -> usize {
        self.multimask_outputs + 1
    }
}

impl Default for DecoderConfig {
    /// The sizes of the decoder in every published model.
    fn default() -> Self {
        Self {
            depth: 2,
            heads: 8,
            mlp_dim: 2048,
            attention_downsample: 2,
            multimask_outputs: 3,
            iou_head_depth: 3,
            iou_head_hidden: 256,
            hq_channels: None,
        }
    }
}

impl SamConfig {
    /// The sizes of a published model.
    pub fn published(model: ModelType) -> Self {
        match model {
            ModelType::VitB => Self::vit_b(),
            ModelType::VitL => Self::vit_l(),
            ModelType::VitH => Self::vit_h(),
            ModelType::VitT => Self::with_encoder(EncoderConfig::TinyVit(TinyVitConfig::default())),
            ModelType::HieraTiny => Self::with_hiera(HieraConfig::tiny()),
            ModelType::HieraSmall => Self::with_hiera(HieraConfig::small()),
            ModelType::HieraBasePlus => Self::with_hiera(HieraConfig::base_plus()),
            ModelType::HieraLarge => Self::with_hiera(HieraConfig::large()),
            ModelType::HqVitB => Self::published(ModelType::VitB).with_hq(768),
            ModelType::HqVitL => Self::published(ModelType::VitL).with_hq(1024),
            ModelType::HqVitH => Self::published(ModelType::VitH).with_hq(1280),
            ModelType::HqVitT => Self::published(ModelType::VitT).with_hq(160),
            ModelType::Sam3 => Self {
                image_size: 1008,
                ..Self::with_encoder(EncoderConfig::Sam3Vit(Sam3VitConfig::published()))
            },
        }
    }

    const fn with_hq(mut self, channels: usize) -> Self {
        self.decoder.hq_channels = Some(channels);
        self
    }

    /// Segment Anything ViT-B.
    pub fn vit_b() -> Self {
        Self::with_vit(768, 12, 12, &[2, 5, 8, 11])
    }

    /// Segment Anything ViT-L.
    pub fn vit_l() -> Self {
        Self::with_vit(1024, 24, 16, &[5, 11, 17, 23])
    }

    /// Segment Anything ViT-H.
    pub fn vit_h() -> Self {
        Self::with_vit(1280, 32, 16, &[7, 15, 23, 31])
    }

    fn with_vit(embed_dim: usize, depth: usize, heads: usize, global: &[usize]) -> Self {
        Self::with_encoder(EncoderConfig::Vit(VitConfig {
            embed_dim,
            depth,
            heads,
            mlp_dim: 4 * embed_dim,
            window_size: 14,
            global_attention_blocks: global.to_vec(),
        }))
    }

    fn with_hiera(hiera: HieraConfig) -> Self {
        Self::with_encoder(EncoderConfig::Hiera(hiera))
    }

    fn with_encoder(encoder: EncoderConfig) -> Self {
        Self {
            image_size: 1024,
            encoder,
            prompt_dim: 256,
            mask_channels: 16,
            decoder: DecoderConfig::default(),
            pixels: PixelTransform::default(),
        }
    }

    /// Whether it is a model of SAM 2 or 3: its input has no padding, its decoder sees details of the image and gives an
    /// [object score](super::DecodedTokens::object_score), and an unstable single mask is replaced.
    pub const fn is_sam2_or_3(&self) -> bool {
        matches!(
            self.encoder,
            EncoderConfig::Hiera(_) | EncoderConfig::Sam3Vit(_)
        )
    }

    /// Pixels of the model input per cell of the image embedding, along each axis.
    pub const fn patch_size(&self) -> usize {
        match &self.encoder {
            EncoderConfig::Sam3Vit(vit) => vit.patch_size,
            _ => PATCH_SIZE,
        }
    }

    /// Mean and standard deviation of each channel, of 255 levels, that pixels are normalised with.
    const fn pixel_statistics(&self) -> ([f32; 3], [f32; 3]) {
        match self.encoder {
            EncoderConfig::Sam3Vit(_) => ([127.5; 3], [127.5; 3]),
            _ => (PIXEL_MEAN, PIXEL_STD),
        }
    }

    /// The placement of an image in the model's input.
    ///
    /// # Errors
    /// [`ModelError::EmptyImage`] for an image without pixels.
    pub fn frame(&self, original: Size) -> Result<ImageFrame> {
        if self.is_sam2_or_3() || self.pixels == PixelTransform::MedSam {
            ImageFrame::stretched(original, self.image_size)
        } else {
            ImageFrame::new(original, self.image_size)
        }
    }

    /// Converts an image of row-major RGB bytes to the model's input.
    ///
    /// # Errors
    /// [`ModelError::EmptyImage`]; [`ModelError::PixelCount`] unless there are three bytes per pixel.
    pub fn prepare(&self, rgb: &[u8], size: Size) -> Result<PreparedImage> {
        if self.is_sam2_or_3() {
            return PreparedImage::stretched(rgb, size, self.image_size, self.pixel_statistics());
        }
        match self.pixels {
            PixelTransform::Sam => PreparedImage::new(rgb, size, self.image_size),
            PixelTransform::MedSam => PreparedImage::of_medsam(rgb, size, self.image_size),
        }
    }

    /// Side of the image embedding in cells.
    pub fn grid_size(&self) -> usize {
        self.image_size / self.patch_size().max(1)
    }

    /// Side of the decoder's masks in pixels: four to a cell of the image embedding.
    pub fn low_res_size(&self) -> usize {
        4 * self.grid_size()
    }

    /// The published model with these sizes, if there is one.
    pub fn model_type(&self) -> Option<ModelType> {
        let mut own = self.clone();
        own.pixels = PixelTransform::default();
        if let EncoderConfig::Sam3Vit(vit) = &mut own.encoder {
            // The same weights are published with two of them.
            vit.epsilon = Sam3VitConfig::published().epsilon;
        }
        ModelType::ALL
            .into_iter()
            .find(|&model| Self::published(model) == own)
    }

    /// # Errors
    /// [`ModelError::ModelConfig`] if the sizes do not fit together.
    pub(super) fn check(&self) -> Result<()> {
        require(
            (1..=MOST_PIXELS).contains(&self.image_size)
                && self.patch_size() > 0
                && self.image_size.is_multiple_of(self.patch_size()),
            || {
                let (image, patch) = (self.image_size, self.patch_size());
                format!("image_size {image} is not a multiple of {patch} up to {MOST_PIXELS}")
            },
        )?;
        let prompt = self.prompt_dim;
        require(prompt > 0 && prompt.is_multiple_of(8), || {
            format!("prompt_dim {prompt} is not a multiple of 8")
        })?;
        let mask = self.mask_channels;
        require(mask > 0 && mask.is_multiple_of(4), || {
            format!("mask_channels {mask} is not a multiple of 4")
        })?;
        let decoder = &self.decoder;
        let inner = decoder.heads * decoder.attention_downsample;
        require(inner > 0 && prompt.is_multiple_of(inner), || {
            format!(
                "prompt_dim {prompt} is not a multiple of decoder heads {} x downsample {}",
                decoder.heads, decoder.attention_downsample
            )
        })?;
        let layers = 1..=MOST_LAYERS;
        require(
            layers.contains(&decoder.depth) && layers.contains(&decoder.iou_head_depth),
            || format!("the decoder and its iou head need 1 to {MOST_LAYERS} layers"),
        )?;
        require(decoder.multimask_outputs <= MOST_LAYERS, || {
            format!(
                "{} multimask outputs are too many",
                decoder.multimask_outputs
            )
        })?;
        if let Some(found) = decoder.hq_channels {
            let early = match &self.encoder {
                EncoderConfig::Vit(vit) if !vit.global_attention_blocks.is_empty() => {
                    Some(vit.embed_dim)
                }
                EncoderConfig::TinyVit(tiny) => tiny.early_channels(),
                _ => None,
            };
            require(early == Some(found), || {
                let early = early.map_or_else(|| "none".to_owned(), |it| it.to_string());
                format!("HQ-SAM's decoder needs {found} early channels; the encoder has {early}")
            })?;
        }
        match &self.encoder {
            EncoderConfig::Vit(vit) => vit.check(self.grid_size()),
            EncoderConfig::TinyVit(tiny) => tiny.check(self.image_size),
            EncoderConfig::Hiera(hiera) => hiera.check(self.image_size),
            EncoderConfig::Sam3Vit(vit) => vit.check(self.image_size),
        }
    }
}

impl VitConfig {
    fn check(&self, grid: usize) -> Result<()> {
        let Self {
            embed_dim, heads, ..
        } = *self;
        require(
            heads > 0 && embed_dim > 0 && embed_dim.is_multiple_of(heads),
            || format!("embed_dim {embed_dim} is not a multiple of heads {heads}"),
        )?;
        require(self.mlp_dim > 0, || "mlp_dim is 0".to_owned())?;
        require_windows(
            self.window_size,
            grid,
            &self.global_attention_blocks,
            self.depth,
        )
    }
}
