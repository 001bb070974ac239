//! Options of an extraction: upstream's options under upstream's names.

use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::grid::Tiling;
use crate::models::sam::{PixelTransform, SamConfig};
use crate::options::{is_default, one_of};
use crate::photo::{Channels, Decoding, Percentiles, Rendering};
use crate::{Error, Result};

/// Sides that tiles can have, in pixels.
const SIDES_OF_TILES: RangeInclusive<u32> = 64..=16_384;

/// Which of the decoder's masks are kept for a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaskOutput {
    /// The multimask output with the best predicted IoU of the three: one mask per point, as in GranSAM.
    #[default]
    Best,
    /// The single-mask output.
    Single,
    /// All three multimask outputs, as in upstream's automatic generator.
    All,
}

impl FromStr for MaskOutput {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let words = [
            ("best", Self::Best),
            ("single", Self::Single),
            ("all", Self::All),
        ];
        one_of("mask output", text, &words)
    }
}

/// A vector of a mask that Segment Anything gives while it runs, besides its four tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SamVector {
    /// The image embedding, averaged under the mask: 256 numbers.
    Neck,
    /// The token of the mask's own output: 256 numbers. (`masks.embedding` holds the tokens of all outputs.)
    Token,
}

impl SamVector {
    /// Its word in options.
    pub fn word(self) -> &'static str {
        match self {
            Self::Neck => "neck",
            Self::Token => "token",
        }
    }

    /// The name of its embedder, and its `model_type`.
    pub fn embedder(self) -> &'static str {
        match self {
            Self::Neck => "sam_neck",
            Self::Token => "sam_token",
        }
    }
}

impl FromStr for SamVector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        one_of(
            "vector",
            text,
            &[("neck", Self::Neck), ("token", Self::Token)],
        )
    }
}

/// Every option that affects which masks come out, named as in segment-anything's `SamAutomaticMaskGenerator`. The
/// defaults are GranSAM's: a 10 x 10 grid and no filter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MaskOptions {
    /// Points along a side of the grid, 1 to 1024.
    pub points_per_side: u32,
    /// Masks whose predicted IoU is not above this are dropped; 0 keeps all.
    pub pred_iou_thresh: f32,
    /// Masks with a lower stability score are dropped; 0 keeps all.
    pub stability_score_thresh: f32,
    /// How far the mask threshold is moved for the stability score, in logits.
    pub stability_score_offset: f32,
    /// Of two masks of a crop whose boxes have a higher IoU, the worse is dropped; 1 keeps all.
    pub box_nms_thresh: f64,
    /// Layers of crops beyond the whole image.
    pub crop_n_layers: u32,
    /// Like `box_nms_thresh`, between crops; the mask of the smaller crop is kept.
    pub crop_nms_thresh: f64,
    /// Overlap of the crops of layer 1, as a fraction of the image's short side; each further layer halves it.
    pub crop_overlap_ratio: f64,
    /// The points along a side in layer n are `points_per_side` divided by this to the power n.
    pub crop_n_points_downscale_factor: u32,
    /// Holes and islands of fewer pixels are removed; 0 leaves masks as they are.
    pub min_mask_region_area: u64,
    /// Which of the decoder's masks are kept.
    pub mask_output: MaskOutput,
    /// Cuts photos that are larger than a tile, runs on each tile as on a photo, and joins the masks of objects at seams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tile: Option<Tiling>,
    /// Channels of photos that are red, green and blue; without, the first three, or the first if there are fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<Channels>,
    /// Percentiles of each channel of a photo that become black and white; without, as [`Rendering`] says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percentiles: Option<Percentiles>,
    /// How photos become the model's input.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pixels: PixelTransform,
    /// Prompts features that an extraction kept, with the same weights, so that photos are not encoded again. Photos of which none
    /// are kept are encoded, and their features are rounded as kept ones are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_features: bool,
}

impl Default for MaskOptions {
    fn default() -> Self {
        Self {
            points_per_side: 10,
            pred_iou_thresh: 0.0,
            stability_score_thresh: 0.0,
            stability_score_offset: 1.0,
            box_nms_thresh: 1.0,
            crop_n_layers: 0,
            crop_nms_thresh: 0.7,
            crop_overlap_ratio: 512.0 / 1500.0,
            crop_n_points_downscale_factor: 1,
            min_mask_region_area: 0,
            mask_output: MaskOutput::Best,
            tile: None,
            channels: None,
            percentiles: None,
            pixels: PixelTransform::default(),
            from_features: false,
        }
    }
}

impl MaskOptions {
    /// Checks that a model can do what is asked.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub(super) fn check_for(&self, config: &SamConfig) -> Result<()> {
        let fail = |expected: &str| {
            Err(Error::InvalidOption {
                what: "mask output of this model",
                value: format!("{:?}", self.mask_output).to_lowercase(),
                expected: expected.to_owned(),
            })
        };
        if config.decoder.multimask_outputs == 0 && self.mask_output != MaskOutput::Single {
            return fail("single: it gives one mask a point");
        }
        if config.is_sam2_or_3() && self.pixels != PixelTransform::default() {
            return Err(Error::InvalidOption {
                what: "kind of pixels of this model",
                value: "medsam".to_owned(),
                expected: "sam: SAM 2 and SAM 3 have pixels of their own".to_owned(),
            });
        }
        if config.decoder.hq_channels.is_some() && self.mask_output == MaskOutput::All {
            return fail("best or single: HQ-SAM gives one mask a point");
        }
        Ok(())
    }

    /// How photos are decoded: with tiles, those of any size.
    pub(super) fn decoding(&self) -> Decoding {
        let rendering = Rendering {
            channels: self.channels,
            percentiles: self.percentiles,
        };
        Decoding::of_extractor(rendering, self.tile.is_some())
    }

    /// Checks that features can be kept, if they are to be, and that kept ones can be used.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] with tiles, because a photo in tiles has no features of its own, and for both at once.
    pub(super) fn check_features(&self, keeps_features: bool) -> Result<()> {
        let fail = |what, value: String, expected: &str| {
            Err(Error::InvalidOption {
                what,
                value,
                expected: expected.to_owned(),
            })
        };
        let of_tiles = "one of the two: a photo in tiles has no features of its own";
        match self.tile {
            Some(tile) if keeps_features => {
                fail("tile with keep-features", tile.side.to_string(), of_tiles)
            }
            Some(tile) if self.from_features => {
                fail("tile with from-features", tile.side.to_string(), of_tiles)
            }
            _ if keeps_features && self.from_features => fail(
                "keep-features with from-features",
                "both".to_owned(),
                "one of the two: keep features first, then prompt them",
            ),
            _ => Ok(()),
        }
    }

    /// Checks that every option is in its range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], naming the option.
    pub fn validate(&self) -> Result<()> {
        let fail = |what: &'static str, value: String, expected: &str| {
            Err(Error::InvalidOption {
                what,
                value,
                expected: expected.to_owned(),
            })
        };
        if !(1..=1024).contains(&self.points_per_side) {
            return fail(
                "points-per-side",
                self.points_per_side.to_string(),
                "1 to 1024",
            );
        }
        if self.crop_n_layers > 4 {
            return fail("crop-n-layers", self.crop_n_layers.to_string(), "0 to 4");
        }
        if self.crop_n_points_downscale_factor == 0 {
            return fail(
                "crop-n-points-downscale-factor",
                "0".to_owned(),
                "1 or more",
            );
        }
        if !(0.0..1.0).contains(&self.crop_overlap_ratio) {
            return fail(
                "crop-overlap-ratio",
                self.crop_overlap_ratio.to_string(),
                "0 to below 1",
            );
        }
        for (what, value) in [
            ("pred-iou-thresh", f64::from(self.pred_iou_thresh)),
            (
                "stability-score-thresh",
                f64::from(self.stability_score_thresh),
            ),
            ("box-nms-thresh", self.box_nms_thresh),
            ("crop-nms-thresh", self.crop_nms_thresh),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return fail(what, value.to_string(), "0 to 1");
            }
        }
        if !(self.stability_score_offset >= 0.0 && self.stability_score_offset.is_finite()) {
            let value = self.stability_score_offset.to_string();
            return fail("stability-score-offset", value, "0 or more");
        }
        if let Some(Tiling { side, overlap }) = self.tile {
            if !SIDES_OF_TILES.contains(&side) {
                return fail("tile", side.to_string(), "64 to 16384 pixels");
            }
            if !(side / 16..=side / 2).contains(&overlap) {
                let expected = format!("{} to {}, 1/16 to 1/2 of the tile", side / 16, side / 2);
                return fail("overlap", overlap.to_string(), &expected);
            }
            if self.crop_n_layers > 0 {
                return fail(
                    "tile with crop-n-layers",
                    side.to_string(),
                    "one of the two",
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::sam::ModelType;

    #[test]
    fn options_out_of_range_are_named() {
        MaskOptions::default().validate().unwrap();
        let bad = |change: fn(&mut MaskOptions), part: &str| {
            let mut options = MaskOptions::default();
            change(&mut options);
            let message = options.validate().unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        };
        bad(|o| o.points_per_side = 0, "points-per-side");
        bad(|o| o.crop_n_layers = 9, "crop-n-layers");
        bad(|o| o.crop_overlap_ratio = 1.0, "crop-overlap-ratio");
        bad(|o| o.pred_iou_thresh = f32::NAN, "pred-iou-thresh");
        bad(|o| o.box_nms_thresh = 1.5, "box-nms-thresh");
        bad(
            |o| o.stability_score_offset = -1.0,
            "stability-score-offset",
        );
        let medsam = MaskOptions {
            pixels: "medsam".parse().unwrap(),
            ..MaskOptions::default()
        };
        let config = |model| SamConfig::published(model);
        medsam.check_for(&config(ModelType::VitB)).unwrap();
        let refused = medsam.check_for(&config(ModelType::HieraTiny)).unwrap_err();
        assert!(refused.to_string().contains("pixels"), "{refused}");
        let tiled = |side, overlap| MaskOptions {
            tile: Some(Tiling { side, overlap }),
            ..MaskOptions::default()
        };
        tiled(1024, 128).validate().unwrap();
        for (side, overlap, part) in [
            (63, 0, "64 to 16384"),
            (100, 51, "6 to 50"),
            (100, 5, "6 to 50"),
        ] {
            let message = tiled(side, overlap).validate().unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        let mut layers = tiled(1024, 128);
        layers.crop_n_layers = 1;
        assert!(layers.validate().is_err());
        assert!("worst".parse::<MaskOutput>().is_err());
    }
}
