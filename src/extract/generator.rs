//! Generates all masks of one image: pixels in, masks with their tokens out (upstream: `automatic_mask_generator.py`).
//!
//! This module does no I/O. A mask exists at full size only while it is thresholded; after that it is run-length
//! encoded.

use burn::tensor::Device;
use image::RgbImage;
use image::imageops::crop_imm;
use rayon::prelude::*;

use super::batches::{Batches, within_memory};
use super::crop_features::{
    CropFeatures, KeptFeatures, add_neck, features_of, kept_features, numbers,
};
use super::generated::GeneratedMask;
use super::grid::{Crop, CropLayout, crops, points_in_crop, points_per_side};
use super::options::{MaskOptions, MaskOutput};
use super::seams::join;
use crate::geometry::{
    BBox, NmsConfig, NmsOutcome, Pixel, Rle, Size, SmallRegion, box_nms, remove_small_regions,
};
use crate::models::sam::{
    DecodedTokens, ImageEmbedding, ImageFeatures, ImageFrame, MASK_THRESHOLD, MaskUpscaler,
    Prompts, Sam, stability_score, threshold_into,
};
use crate::photo::Decoding;
use crate::{Error, Result};

/// Boxes within this distance of a crop's edge, in pixels, count as cut off by it (amg.py, `is_box_near_crop_edge`).
const EDGE_TOLERANCE: f64 = 20.0;

/// Generates all masks of images, one image at a time.
pub struct MaskGenerator {
    sam: Sam,
    device: Device,
    options: MaskOptions,
    batches: Batches,
    pools_neck: bool,
    keeps_features: bool,
}

/// What the model gives of a photo.
#[derive(Debug)]
pub(super) struct Generated {
    pub masks: Vec<GeneratedMask>,
    /// The features of the whole photo, if they are kept.
    pub features: Option<KeptFeatures>,
}

/// A mask that is wanted of a point, before it is made.
struct Wanted<'a> {
    mask_output: usize,
    predicted_iou: f32,
    object_score: Option<f32>,
    /// The prompt: x and y in pixels of the crop.
    point: &'a [f64; 2],
    /// All mask tokens of the point.
    tokens: &'a [f32],
}

impl MaskGenerator {
    /// Creates a generator on the model's device; `points_per_batch` points are decoded at once, or as many as its
    /// memory holds.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn new(
        sam: Sam,
        device: Device,
        options: MaskOptions,
        points_per_batch: usize,
    ) -> Result<Self> {
        options.validate()?;
        options.check_for(sam.config())?;
        Ok(Self {
            sam: sam.with_pixels(options.pixels),
            device,
            options,
            batches: Batches::new(points_per_batch),
            pools_neck: false,
            keeps_features: false,
        })
    }

    /// Also averages the image embedding under each mask.
    #[must_use]
    pub fn with_neck(self) -> Self {
        Self {
            pools_neck: true,
            ..self
        }
    }

    /// Also gives the features of the whole photo.
    #[must_use]
    pub(super) fn with_features(self) -> Self {
        Self {
            keeps_features: true,
            ..self
        }
    }

    /// Channels of a token and of the image embedding.
    pub(super) fn token_width(&self) -> usize {
        self.sam.config().prompt_dim
    }

    /// As [`MaskOptions::check_features`].
    pub(super) fn check_features(&self, keeps_features: bool) -> Result<()> {
        self.options.check_features(keeps_features)
    }

    /// As [`MaskOptions::decoding`].
    pub(super) fn decoding(&self) -> Decoding {
        self.options.decoding()
    }

    /// Whether the model runs on this machine's processors, in threads of rayon.
    pub(super) fn is_on_cpu(&self) -> bool {
        self.device == Device::flex()
    }

    /// Generates all masks of a photo.
    ///
    /// Without suppression, masks come in the order of their points, otherwise in upstream's order: by descending score
    /// within a crop, crop by crop.
    ///
    /// # Errors
    /// Errors of the model and the geometry; [`Error::ModelOutput`] if the model gives numbers that are not finite;
    /// [`Error::DeviceMemory`] if an image or a single point does not fit the device.
    pub fn generate(&self, photo: &RgbImage) -> Result<Vec<GeneratedMask>> {
        Ok(self.run(photo)?.masks)
    }

    /// Like [`MaskGenerator::generate`], with the features.
    pub(super) fn run(&self, photo: &RgbImage) -> Result<Generated> {
        if let Some(tiling) = self.options.tile {
            let tiles = tiling.tiles(photo.width(), photo.height());
            if tiles.len() > 1 {
                return self.run_on_tiles(photo, &tiles);
            }
        }
        let layout = CropLayout {
            layers: self.options.crop_n_layers,
            overlap_ratio: self.options.crop_overlap_ratio,
        };
        let crops = crops(photo.width(), photo.height(), layout);
        let (mut masks, mut features, mut kept) = (Vec::new(), Vec::new(), None);
        for crop in &crops {
            if crop.width() > 0 && crop.height() > 0 {
                masks.extend(self.masks_of_crop(photo, *crop, &mut features, &mut kept)?);
            }
        }
        if crops.len() > 1 {
            let score = |mask: &GeneratedMask| {
                1.0 / (f64::from(mask.crop.width()) * f64::from(mask.crop.height()))
            };
            masks = suppress(masks, score, self.options.crop_nms_thresh)?;
        }
        Ok(Generated {
            masks: self.finished(masks, &features)?,
            features: kept,
        })
    }

    /// The masks of a photo without small regions, and with what is averaged of its crops under them.
    fn finished(
        &self,
        mut masks: Vec<GeneratedMask>,
        of_crops: &[CropFeatures],
    ) -> Result<Vec<GeneratedMask>> {
        if self.options.min_mask_region_area > 0 {
            masks = self.without_small_regions(masks)?;
        }
        for of_crop in of_crops {
            add_neck(&mut masks, of_crop)?;
        }
        Ok(masks)
    }

    /// The masks of a photo that is too large to go through the model as a whole.
    fn run_on_tiles(&self, photo: &RgbImage, tiles: &[Crop]) -> Result<Generated> {
        let mut masks = Vec::new();
        for tile in tiles {
            let mut features = Vec::new();
            let mut of_tile = self.masks_of_crop(photo, *tile, &mut features, &mut None)?;
            for of_crop in &features {
                add_neck(&mut of_tile, of_crop)?;
            }
            masks.extend(of_tile);
        }
        let image = Size {
            height: photo.height(),
            width: photo.width(),
        };
        Ok(Generated {
            masks: self.finished(join(masks, image)?, &[])?,
            features: None,
        })
    }

    /// Whether features that are kept take the place of photos, which crops would need in any case.
    pub(super) fn reads_kept_features(&self) -> bool {
        self.options.from_features && self.options.crop_n_layers == 0
    }

    /// Generates the masks of a photo of a size from its features.
    pub(super) fn run_on_features(
        &self,
        image: Size,
        features: &KeptFeatures,
    ) -> Result<Generated> {
        let frame = self.sam.config().frame(image)?;
        let embedding = self.embedding_of(image, features)?;
        let whole = Crop::whole(image.width, image.height);
        let mut of_crops = Vec::new();
        let masks = self.masks_in(&embedding, &frame, whole, image, &mut of_crops)?;
        Ok(Generated {
            masks: self.finished(masks, &of_crops)?,
            features: None,
        })
    }

    /// The image embedding that features were kept of.
    fn embedding_of(&self, image: Size, features: &KeptFeatures) -> Result<ImageEmbedding> {
        let (sizes, numbers) = (features.sizes, features.numbers());
        let kept = ImageFeatures::kept(&self.sam, image, sizes, numbers, &self.device)?;
        Ok(kept.into_embedding())
    }

    fn masks_of_crop(
        &self,
        photo: &RgbImage,
        crop: Crop,
        features: &mut Vec<CropFeatures>,
        kept: &mut Option<KeptFeatures>,
    ) -> Result<Vec<GeneratedMask>> {
        let size = Size {
            height: crop.height(),
            width: crop.width(),
        };
        let is_whole = crop.is_whole(photo.width(), photo.height());
        let pixels = if is_whole {
            self.sam.config().prepare(photo.as_raw(), size)?
        } else {
            let part = crop_imm(photo, crop.left, crop.top, size.width, size.height).to_image();
            self.sam.config().prepare(part.as_raw(), size)?
        };
        let frame = pixels.frame;
        let mut embedding = within_memory(0, || {
            Ok(self.sam.encode_image(pixels.into_tensor(&self.device)))
        })?;
        if self.keeps_features && is_whole {
            *kept = Some(kept_features(&embedding)?);
        }
        if self.options.from_features && is_whole {
            embedding = self.embedding_of(size, &kept_features(&embedding)?)?;
        }
        let image = Size {
            height: photo.height(),
            width: photo.width(),
        };
        self.masks_in(&embedding, &frame, crop, image, features)
    }

    /// The masks of a crop of an image, of which the model has an embedding.
    fn masks_in(
        &self,
        embedding: &ImageEmbedding,
        frame: &ImageFrame,
        crop: Crop,
        image: Size,
        features: &mut Vec<CropFeatures>,
    ) -> Result<Vec<GeneratedMask>> {
        if self.pools_neck {
            features.push(features_of(&embedding.cells, frame, crop));
        }
        let side = points_per_side(
            self.options.points_per_side,
            self.options.crop_n_points_downscale_factor,
            crop.layer,
        );
        let masks = self.batches.decode(
            &points_in_crop(crop, side),
            |points| self.masks_of_points(embedding, frame, points, crop, image),
            || self.device.memory_cleanup(),
        )?;
        let score = |mask: &GeneratedMask| f64::from(mask.predicted_iou);
        suppress(masks, score, self.options.box_nms_thresh)
    }

    fn masks_of_points(
        &self,
        embedding: &ImageEmbedding,
        frame: &ImageFrame,
        points: &[[f64; 2]],
        crop: Crop,
        image: Size,
    ) -> Result<Vec<GeneratedMask>> {
        let in_model: Vec<[f32; 2]> = points
            .iter()
            .map(|point| frame.model_from_image(*point).map(|x| x as f32))
            .collect();
        let prompts = Prompts::single_points(&in_model, &self.device);
        let decoded = self.sam.decode_tokens(embedding.clone(), &prompts);
        let [count, outputs] = decoded.iou.dims();
        let iou = numbers(decoded.iou.clone().into_data(), "predicted IoU")?;
        let tokens = numbers(decoded.tokens.clone().into_data(), "mask tokens")?;
        let scores = decoded.object_score.clone();
        let scores = scores.map(|scores| numbers(scores.into_data(), "object score"));
        let scores = scores.transpose()?.unwrap_or_default();
        let replaced = self.replaced_single_masks(&decoded)?;
        let width = tokens.len() / count.max(1);
        let rows = points
            .iter()
            .zip(iou.chunks_exact(outputs).zip(tokens.chunks_exact(width)));
        let mut wanted = Vec::new();
        for (at, (point, (iou, tokens))) in rows.enumerate() {
            let chosen = match replaced.get(at) {
                Some(true) => best_of_several(iou),
                _ => self.chosen(iou),
            };
            wanted.extend(chosen.into_iter().map(|mask_output| Wanted {
                mask_output,
                predicted_iou: iou.get(mask_output).copied().unwrap_or_default(),
                object_score: scores.get(at).copied(),
                point,
                tokens,
            }));
        }
        let outputs: Vec<usize> = wanted.iter().map(|it| it.mask_output).collect();
        let masks = self.sam.masks(decoded, &outputs);
        let [_, _, low_res, _] = masks.dims();
        let masks = numbers(masks.into_data(), "masks")?;
        if masks.len() != wanted.len() * low_res * low_res {
            return Err(Error::Internal {
                what: "another number of masks than the model was asked for",
            });
        }

        let least = self.options.pred_iou_thresh;
        let upscaler = MaskUpscaler::new(frame, low_res);
        let found: Vec<Option<GeneratedMask>> = wanted
            .par_iter()
            .zip(masks.par_chunks_exact(low_res * low_res))
            .filter(|(wanted, _)| least <= 0.0 || wanted.predicted_iou > least)
            .map_init(
                || (upscaler.clone(), Vec::new()),
                |(upscaler, bitmap), (wanted, logits)| {
                    self.finish(wanted, upscaler.logits(logits)?, bitmap, frame, crop, image)
                },
            )
            .collect::<Result<_>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Thresholds and encodes one mask, given its logits at the size of the crop; `None` if it is unstable or cut off by
    /// the crop.
    fn finish(
        &self,
        wanted: &Wanted<'_>,
        logits: &[f32],
        bitmap: &mut Vec<u8>,
        frame: &ImageFrame,
        crop: Crop,
        image: Size,
    ) -> Result<Option<GeneratedMask>> {
        let offset = self.options.stability_score_offset;
        let stability_score = stability_score(logits, MASK_THRESHOLD, offset);
        if stability_score < self.options.stability_score_thresh {
            return Ok(None);
        }
        threshold_into(logits, MASK_THRESHOLD, bitmap);
        let rle = Rle::from_row_major(frame.original, bitmap)?;
        let origin = Pixel {
            x: crop.left,
            y: crop.top,
        };
        let mask = GeneratedMask {
            rle: rle.place_in(image, origin)?,
            predicted_iou: wanted.predicted_iou,
            stability_score,
            point: [
                wanted.point[0] + f64::from(crop.left),
                wanted.point[1] + f64::from(crop.top),
            ],
            crop,
            mask_output: wanted.mask_output,
            object_score: wanted.object_score,
            embedding: wanted.tokens.to_vec(),
            neck: None,
        };
        // What a seam cuts off is joined later.
        let is_dropped = self.options.tile.is_none() && is_cut_off(&mask, image);
        Ok((!is_dropped).then_some(mask))
    }

    /// The outputs to keep for a point, given the predicted IoU of all.
    fn chosen(&self, iou: &[f32]) -> Vec<usize> {
        match self.options.mask_output {
            MaskOutput::Single => vec![0],
            MaskOutput::All => (1..iou.len()).collect(),
            MaskOutput::Best => best_of_several(iou),
        }
    }

    /// Of each point, whether its single mask is wanted and another must replace it; empty if no mask needs to be looked at.
    fn replaced_single_masks(&self, decoded: &DecodedTokens) -> Result<Vec<bool>> {
        let [count, outputs] = decoded.iou.dims();
        let config = self.sam.config();
        if self.options.mask_output != MaskOutput::Single || !config.is_sam2_or_3() || outputs == 1
        {
            return Ok(Vec::new());
        }
        let masks = self.sam.masks(decoded.clone(), &vec![0; count]);
        let [_, _, rows, columns] = masks.dims();
        let masks = numbers(masks.into_data(), "masks")?;
        let masks = masks.par_chunks_exact(rows * columns);
        Ok(masks.map(|it| config.replaces_single_mask(it)).collect())
    }

    /// Removes small holes and islands; of masks that became alike, one is kept, preferably an unchanged one.
    fn without_small_regions(&self, masks: Vec<GeneratedMask>) -> Result<Vec<GeneratedMask>> {
        let least = self.options.min_mask_region_area;
        let mut cleaned = Vec::with_capacity(masks.len());
        for mut mask in masks {
            let (filled, had_holes) = remove_small_regions(&mask.rle, least, SmallRegion::Holes);
            let (rle, had_islands) = remove_small_regions(&filled, least, SmallRegion::Islands);
            mask.rle = rle;
            cleaned.push((mask, f64::from(u8::from(!had_holes && !had_islands))));
        }
        let threshold = self
            .options
            .box_nms_thresh
            .max(self.options.crop_nms_thresh);
        let scored = suppress_by(cleaned, |(mask, _)| mask, |(_, score)| *score, threshold)?;
        Ok(scored.into_iter().map(|(mask, _)| mask).collect())
    }
}

/// The output of those for an ambiguous prompt with the best predicted IoU.
fn best_of_several(iou: &[f32]) -> Vec<usize> {
    let multimask = iou.iter().enumerate().skip(1);
    // Of equal ones, the first, as with argmax.
    let best = multimask.reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map(|(output, _)| output).into_iter().collect()
}

/// Whether the mask seems to be cut off by an edge of its crop that is not an edge of the image.
fn is_cut_off(mask: &GeneratedMask, image: Size) -> bool {
    let near = |a: f64, b: u32| (a - f64::from(b)).abs() <= EDGE_TOLERANCE;
    let crop = mask.crop;
    let mut edges = mask.inclusive_box().to_xyxy();
    if mask.rle.is_empty() {
        // Upstream's empty box lies at the crop's first pixel.
        edges = [crop.left, crop.top, crop.left, crop.top].map(f64::from);
    }
    let crop_edges = [crop.left, crop.top, crop.right, crop.bottom];
    let image_edges = [0, 0, image.width, image.height];
    edges
        .iter()
        .zip(crop_edges.iter().zip(image_edges))
        .any(|(edge, (crop, image))| near(*edge, *crop) && !near(*edge, image))
}

fn suppress(
    masks: Vec<GeneratedMask>,
    score: impl Fn(&GeneratedMask) -> f64,
    threshold: f64,
) -> Result<Vec<GeneratedMask>> {
    suppress_by(masks, |mask| mask, score, threshold)
}

/// The items that box NMS keeps, by descending score; all items in their given order if the threshold is 1.
fn suppress_by<T>(
    items: Vec<T>,
    mask: impl Fn(&T) -> &GeneratedMask,
    score: impl Fn(&T) -> f64,
    threshold: f64,
) -> Result<Vec<T>> {
    if threshold >= 1.0 {
        return Ok(items);
    }
    let boxes: Vec<BBox> = items
        .iter()
        .map(|item| mask(item).inclusive_box())
        .collect();
    let scores: Vec<f64> = items.iter().map(&score).collect();
    let config = NmsConfig {
        iou_threshold: threshold,
        classes: None,
    };
    let outcomes = box_nms(&boxes, &scores, &config)?;
    let kept = items
        .into_iter()
        .zip(outcomes)
        .filter(|(_, outcome)| *outcome == NmsOutcome::Kept);
    let mut kept: Vec<T> = kept.map(|(item, _)| item).collect();
    kept.sort_by(|a, b| score(b).total_cmp(&score(a)));
    Ok(kept)
}
