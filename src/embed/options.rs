//! Options of an embedding: all that changes the vectors, besides the weights.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::models::{Activation, EmbeddingModelInfo, Family, Fit};
use crate::options::one_of;
use crate::{Error, Result};

/// What goes through the network, and how its output becomes a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// A crop around each mask.
    Crop,
    /// The photo, once; the vectors of its patches are averaged under each mask, by how much of a patch it covers.
    Dense,
    /// The photo, once: a vector for the image, none for masks.
    Image,
}

impl FromStr for Pool {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let words = [
            ("crop", Self::Crop),
            ("dense", Self::Dense),
            ("image", Self::Image),
        ];
        one_of("pool", text, &words)
    }
}

/// What a crop shows beside the mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Background {
    /// The photo.
    #[default]
    Keep,
    /// The mean colour of the network's training images.
    Mean,
}

impl FromStr for Background {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let words = [("keep", Self::Keep), ("mean", Self::Mean)];
        one_of("background", text, &words)
    }
}

/// Options of an embedding; `None` is the default of the network's family.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbedOptions {
    /// What goes through the network; by default a crop per mask, and for DINOv2 the photo once.
    pub pool: Option<Pool>,
    /// How what goes in becomes a square: for crops, by default as the family's own transform does.
    pub fit: Option<Fit>,
    /// What crops show beside the mask.
    pub background: Background,
    /// Factor on the sides of a mask's box, at least 1; the crop is cut off at the photo's edge.
    pub context: f64,
    /// Side of the input for crops, longest side for photos, in pixels.
    pub image_size: Option<u32>,
    /// The activation of a CLIP, in place of that of a config beside the weights.
    pub activation: Option<Activation>,
    /// Only masks with at least this predicted IoU; masks without one pass.
    pub min_predicted_iou: Option<f32>,
    /// Only masks with at least this stability score; masks without one pass.
    pub min_stability_score: Option<f32>,
}

impl Default for EmbedOptions {
    fn default() -> Self {
        Self {
            pool: None,
            fit: None,
            background: Background::Keep,
            context: 1.0,
            image_size: None,
            activation: None,
            min_predicted_iou: None,
            min_stability_score: None,
        }
    }
}

/// Options with every default resolved; those that change nothing are `None` and do not count for identity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Resolved {
    pub pool: Pool,
    pub fit: Fit,
    pub image_size: u32,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub background: Option<Background>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub context: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub activation: Option<Activation>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub min_predicted_iou: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub min_stability_score: Option<f32>,
}

/// Limit on the side of an input, in pixels.
const MAX_IMAGE_SIZE: u32 = 4096;
/// Limit on `context`.
const MAX_CONTEXT: f64 = 10.0;

impl EmbedOptions {
    /// Fills in the defaults of a network's family.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], naming the option.
    pub(super) fn resolve(&self, model: &EmbeddingModelInfo) -> Result<Resolved> {
        let fail = |what: &'static str, value: String, expected: String| {
            Err(Error::InvalidOption {
                what,
                value,
                expected,
            })
        };
        let pool = self.pool.unwrap_or(match model.family {
            Family::DinoV2 => Pool::Dense,
            _ => Pool::Crop,
        });
        if pool == Pool::Dense && model.patch.is_none() {
            let expected = format!("crop or image: {} has no vectors of patches", model.family);
            return fail("pool", "dense".to_owned(), expected);
        }
        let side = match pool {
            Pool::Crop => model.crop_size,
            Pool::Dense | Pool::Image => model.photo_size,
        };
        let image_size = self.image_size.unwrap_or(side);
        let step = model.patch.unwrap_or(1);
        if image_size < 32.max(step)
            || image_size > MAX_IMAGE_SIZE
            || !image_size.is_multiple_of(step)
        {
            let of = match step {
                1 => String::new(),
                step => format!(", a multiple of the patch of {step}"),
            };
            let expected = format!("{} to {MAX_IMAGE_SIZE} pixels{of}", 32.max(step));
            return fail("image-size", image_size.to_string(), expected);
        }
        if !(1.0..=MAX_CONTEXT).contains(&self.context) {
            return fail(
                "context",
                self.context.to_string(),
                format!("1 to {MAX_CONTEXT}"),
            );
        }
        for (what, value) in [
            ("min-predicted-iou", self.min_predicted_iou),
            ("min-stability-score", self.min_stability_score),
        ] {
            if let Some(value) = value.filter(|value| !(0.0..=1.0).contains(value)) {
                return fail(what, value.to_string(), "0 to 1".to_owned());
            }
        }
        if let (Some(activation), None) = (self.activation, model.activation) {
            let expected = format!(
                "none: only files of CLIP differ in it, and this is {}",
                model.family
            );
            return fail("activation", activation.to_string(), expected);
        }
        let any_aspect =
            model.family == Family::DinoV2 && pool == Pool::Image || pool == Pool::Dense;
        let fit = self.fit.unwrap_or(if any_aspect {
            Fit::Keep
        } else {
            model.default_fit()
        });
        match (pool, fit) {
            (Pool::Dense, Fit::Official | Fit::Pad) => {
                let expected = "keep or squash, for dense vectors".to_owned();
                return fail("fit", fit.to_string(), expected);
            }
            (_, Fit::Keep) if !any_aspect => {
                let expected = "official, pad or squash: the network's input is square".to_owned();
                return fail("fit", fit.to_string(), expected);
            }
            _ => {}
        }
        let is_crop = pool == Pool::Crop;
        let of_masks = pool != Pool::Image;
        Ok(Resolved {
            pool,
            fit,
            image_size,
            background: is_crop.then_some(self.background),
            context: is_crop.then_some(self.context),
            activation: model.activation,
            min_predicted_iou: self.min_predicted_iou.filter(|_| of_masks),
            min_stability_score: self.min_stability_score.filter(|_| of_masks),
        })
    }
}
