//! Networks that make vectors of images, behind one type.
//!
//! In: RGB bytes of crops or of whole photos. Out: a vector per crop, or one per patch of a photo. Which pixels of which
//! photo these are is left to the caller.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};

use super::checkpoint::Weights;
use super::clip::{Clip, ClipConfig, ImageTower};
use super::dino::{Dino, DinoConfig};
use super::efficientnet::EfficientNetLite;
use super::error::{ModelError, Result};
use super::family::Family;
use super::layers::Activation;
use super::pixels::{Fit, IMAGENET, Normalisation, Rgb, within};
use crate::device::Precision;
use crate::geometry::Size;

/// Families of which an [`EmbeddingModel`] can be made.
pub const EMBEDDING_FAMILIES: [Family; 3] =
    [Family::Clip, Family::DinoV2, Family::EfficientNetLite];

/// Statistics of the pixels that OpenAI's CLIP was trained on: 0.48145466, 0.4578275, 0.40821073 and 0.26862954,
/// 0.26130258, 0.27577711.
const OPENAI: Normalisation = Normalisation {
    mean: [122.770_94, 116.746_01, 104.093_74],
    std: [68.500_53, 66.632_16, 70.323_166],
};

/// What EfficientNet-Lite takes off, and divides by.
const LITE: Normalisation = Normalisation {
    mean: [127.0; 3],
    std: [128.0; 3],
};

/// Side in pixels that DINOv2 sees crops at.
const DINO_CROP: u32 = 224;
/// Long side in pixels that DINOv2 sees photos at: that of its table of positions.
const DINO_PHOTO: u32 = 518;

/// What shapes and configs say about a network, before its weights are loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingModelInfo {
    /// The family.
    pub family: Family,
    /// The published name of a network of these sizes, such as `dinov2_vitb14`; `None` for other sizes.
    pub name: Option<&'static str>,
    /// Numbers of a vector.
    pub dim: usize,
    /// Side of a patch in pixels, for networks that give a vector per patch.
    pub patch: Option<u32>,
    /// Default side of a crop, in pixels.
    pub crop_size: u32,
    /// Default long side of a photo, in pixels.
    pub photo_size: u32,
    /// The activation, where files of one family differ in it.
    pub activation: Option<Activation>,
}

/// A network that makes vectors of images.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // there is one per run
pub enum EmbeddingModel {
    /// EfficientNet-Lite0.
    EfficientNet(EfficientNetLite),
    /// DINOv2.
    Dino(Dino),
    /// CLIP's image tower.
    Clip(ImageTower),
}

/// Vectors of a photo's patches.
#[derive(Clone, Debug)]
pub struct DenseVectors {
    /// `[rows * columns, dim]`, row-major.
    pub vectors: Tensor<2>,
    /// Rows and columns of patches; together they cover the photo.
    pub grid: [usize; 2],
}

/// Opens weights that an [`EmbeddingModel`] can be made of.
///
/// # Errors
/// As [`Weights::open`].
pub fn open_embedding_weights(path: impl AsRef<Path>) -> Result<Weights> {
    Weights::open(path, &EMBEDDING_FAMILIES)
}

impl EmbeddingModelInfo {
    /// Reads the sizes of a network; `activation` overrides that of a config beside CLIP's weights.
    ///
    /// # Errors
    /// As [`ClipConfig::of`] and [`DinoConfig::of`]; [`ModelError::ModelConfig`] for a CLIP without image tower.
    pub fn of(weights: &Weights, activation: Option<Activation>) -> Result<Self> {
        let family = weights.family();
        match family {
            Family::DinoV2 => {
                let config = DinoConfig::of(weights)?;
                let patch = config.patch as u32;
                Ok(Self {
                    family,
                    name: config.name(),
                    dim: config.width,
                    patch: Some(patch),
                    crop_size: (DINO_CROP / patch).max(1) * patch,
                    photo_size: (DINO_PHOTO / patch).max(1) * patch,
                    activation: None,
                })
            }
            Family::Clip => {
                let config = ClipConfig::of(weights, activation)?;
                let image = config.image.as_ref().ok_or_else(no_image_tower)?;
                Ok(Self {
                    family,
                    name: config.name(),
                    dim: config.dim,
                    patch: Some(image.patch as u32),
                    crop_size: image.image_size as u32,
                    photo_size: image.image_size as u32,
                    activation: Some(config.activation),
                })
            }
            _ => {
                let [dim, _, _, _]: [usize; 4] = weights.shape_of("_conv_head.weight")?;
                let side = EfficientNetLite::IMAGE_SIZE as u32;
                Ok(Self {
                    family,
                    name: (dim == 1280).then_some("efficientnet_lite0"),
                    dim,
                    patch: None,
                    crop_size: side,
                    photo_size: side,
                    activation: None,
                })
            }
        }
    }

    /// A word for the family, for names.
    pub fn family_word(&self) -> &'static str {
        match self.family {
            Family::DinoV2 => "dinov2",
            Family::Clip => "clip",
            _ => "efficientnet_lite",
        }
    }

    /// How the family fits crops by default: CLIP as its own transform does, the others by squashing.
    pub fn default_fit(&self) -> Fit {
        match self.family {
            Family::Clip => Fit::Official,
            _ => Fit::Squash,
        }
    }
}

fn no_image_tower() -> ModelError {
    ModelError::ModelConfig {
        reason: "the CLIP in the file has no image tower".to_owned(),
    }
}

impl EmbeddingModel {
    /// Loads a network, with its weights rounded to a precision.
    ///
    /// # Errors
    /// As [`Clip::load`], [`Dino::load`] and [`EfficientNetLite::load`].
    pub fn load(
        weights: Weights,
        activation: Option<Activation>,
        precision: Precision,
        device: &Device,
    ) -> Result<Self> {
        match weights.family() {
            Family::DinoV2 => Ok(Self::Dino(Dino::load(weights, precision, device)?)),
            Family::Clip => {
                let clip = Clip::load(weights, activation, precision, device)?;
                clip.visual.map(Self::Clip).ok_or_else(no_image_tower)
            }
            _ => Ok(Self::EfficientNet(EfficientNetLite::load(
                weights, precision, device,
            )?)),
        }
    }

    fn normalisation(&self) -> &'static Normalisation {
        match self {
            Self::EfficientNet(_) => &LITE,
            Self::Dino(_) => &IMAGENET,
            Self::Clip(_) => &OPENAI,
        }
    }

    /// The colour that the network takes for nothing: the mean of the pixels that it was trained on.
    pub fn mean_colour(&self) -> [u8; 3] {
        self.normalisation().mean_colour()
    }

    /// The normalised channels of a crop.
    ///
    /// # Shapes
    /// - output: `[3, side, side]`, flattened
    pub fn crop_pixels(&self, crop: Rgb<'_>, side: u32, fit: Fit) -> Vec<f32> {
        let normalisation = self.normalisation();
        let square = crop.square(side, fit, normalisation.mean_colour());
        let mut channels = vec![0.0; square.len()];
        normalisation.channels_into(&square, &mut channels);
        channels
    }

    /// The vectors of crops whose pixels [`crop_pixels`](Self::crop_pixels) made, one after the other.
    ///
    /// # Shapes
    /// - pixels: `[crops, 3, side, side]`, flattened
    /// - output: `[crops, dim]`
    pub fn crop_vectors(&self, pixels: Vec<f32>, side: u32, device: &Device) -> Tensor<2> {
        let side = side as usize;
        let crops = pixels.len() / (3 * side * side).max(1);
        let pixels = TensorData::new(pixels, [crops, 3, side, side]);
        let pixels = Tensor::<4>::from_data(pixels, device);
        match self {
            Self::EfficientNet(network) => network.forward(pixels),
            Self::Dino(model) => model.forward(pixels).cls,
            Self::Clip(tower) => tower.forward(pixels),
        }
    }

    /// The vectors of a photo's patches; `None` for a network that has none.
    ///
    /// The photo is resized so that its long side has about `longest` pixels and both sides are multiples of the patch;
    /// with [`Fit::Squash`], both sides get `longest` pixels.
    pub fn dense(
        &self,
        photo: Rgb<'_>,
        longest: u32,
        fit: Fit,
        device: &Device,
    ) -> Option<DenseVectors> {
        let patch = match self {
            Self::EfficientNet(_) => return None,
            Self::Dino(model) => model.config().patch,
            Self::Clip(tower) => tower.config().patch,
        };
        let size = match fit {
            Fit::Squash => Size {
                height: longest,
                width: longest,
            },
            Fit::Keep | Fit::Official | Fit::Pad => within(photo.size, longest, patch as u32),
        };
        let resized = photo.resized(size);
        let mut channels = vec![0.0; resized.len()];
        self.normalisation().channels_into(&resized, &mut channels);
        let shape = [1, 3, size.height as usize, size.width as usize];
        let pixels = Tensor::<4>::from_data(TensorData::new(channels, shape), device);
        let patches = match self {
            Self::EfficientNet(_) => return None,
            Self::Dino(model) => model.forward(pixels).patches,
            Self::Clip(tower) => tower.dense(pixels),
        };
        let [_, rows, columns, dim] = patches.dims();
        Some(DenseVectors {
            vectors: patches.reshape([rows * columns, dim]),
            grid: [rows, columns],
        })
    }

    /// The vector of a whole photo; with [`Fit::Keep`], DINOv2 sees it with its aspect.
    ///
    /// # Shapes
    /// - output: `[dim]`
    pub fn photo_vector(
        &self,
        photo: Rgb<'_>,
        longest: u32,
        fit: Fit,
        device: &Device,
    ) -> Tensor<1> {
        if let (Self::Dino(model), Fit::Keep) = (self, fit) {
            let size = within(photo.size, longest, model.config().patch as u32);
            let resized = photo.resized(size);
            let mut channels = vec![0.0; resized.len()];
            self.normalisation().channels_into(&resized, &mut channels);
            let shape = [1, 3, size.height as usize, size.width as usize];
            let pixels = Tensor::<4>::from_data(TensorData::new(channels, shape), device);
            return model.forward(pixels).cls.squeeze_dim::<1>(0);
        }
        let pixels = self.crop_pixels(photo, longest, fit);
        self.crop_vectors(pixels, longest, device)
            .squeeze_dim::<1>(0)
    }
}
