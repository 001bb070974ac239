//! Segment Anything with prompts that people give: the model, and the features of images that were kept for it.

use std::path::Path;

use chrono::Utc;
use image::RgbImage;
use serde_json::{Map, Value, json};

use super::identity::extractor_rows;
use super::kept::Kept;
use super::options::MaskOptions;
use crate::catalogue::decoding_by;
use crate::device::{DeviceName, Precision};
use crate::geometry::Size;
use crate::ids::{ExtractorId, ImageId};
use crate::models::sam::{
    Checkpoint, ImageFeatures, PixelTransform, PredictedMask, Prompt, Sam, SamPredictor,
};
use crate::options::is_default;
use crate::photo::Rendering;
use crate::store::Snapshot;
use crate::store::rows::{ExtractorKind, ExtractorRow};
use crate::{Error, Result};

/// A model that predicts masks for prompts.
pub struct Prompter {
    sam: Sam,
    device: burn::tensor::Device,
    extractor: ExtractorRow,
    precision: Precision,
    /// The extractors of a grid that these weights can have, by the pixels that they see.
    of_grids: Vec<(PixelTransform, ExtractorRow)>,
}

impl Prompter {
    /// Loads a checkpoint.
    ///
    /// # Errors
    /// [`crate::error::ModelError`] for a file that is not a checkpoint; [`Error::Device`]; [`Error::InvalidOption`] for a
    /// precision that the device cannot compute in.
    pub fn open(checkpoint: &Path, device: DeviceName, precision: Precision) -> Result<Self> {
        let checkpoint = Checkpoint::open(checkpoint)?;
        let config = checkpoint.config()?;
        let mut seen = vec![PixelTransform::Sam];
        if !config.is_sam2_or_3() {
            seen.push(PixelTransform::MedSam);
        }
        let options = seen.iter().map(|pixels| MaskOptions {
            pixels: *pixels,
            ..MaskOptions::default()
        });
        let options: Vec<MaskOptions> = options.collect();
        let rows = extractor_rows(&checkpoint, &config, &options, precision)?;
        let of_grids: Vec<_> = seen.into_iter().zip(rows).collect();
        let own = of_grids.first().ok_or(Error::Internal {
            what: "a model sees no pixels",
        })?;
        let extractor = prompted(&own.1, own.0, precision, Rendering::default());
        let opened = device.open()?;
        precision.check(device, &opened)?;
        Ok(Self {
            sam: checkpoint.load_in(precision, &opened)?,
            device: opened,
            extractor,
            precision,
            of_grids,
        })
    }

    /// Sees photos as the newest of some extractors does that has the same weights in the same precision, if there is one.
    #[must_use]
    pub fn beside(self, stored: &[ExtractorRow]) -> Self {
        let grids = stored.iter().filter_map(|row| {
            let is_own = |own: &&(PixelTransform, ExtractorRow)| {
                row.kind != ExtractorKind::Prompted && row.embedding_space == own.1.embedding_space
            };
            Some((row, self.of_grids.iter().find(is_own)?))
        });
        let Some((grid, (pixels, own))) = grids.max_by_key(|(row, _)| row.created_at) else {
            return self;
        };
        let (pixels, rendering) = (*pixels, decoding_by(grid).rendering);
        let extractor = prompted(own, pixels, self.precision, rendering);
        Self {
            sam: self.sam.with_pixels(pixels),
            extractor,
            ..self
        }
    }

    /// The extractor, of kind 'prompted', that the masks are of.
    pub fn extractor(&self) -> &ExtractorRow {
        &self.extractor
    }

    /// Encodes a photo.
    ///
    /// # Errors
    /// Errors of the model.
    pub fn encode(&self, photo: &RgbImage) -> Result<ImageFeatures> {
        Ok(ImageFeatures::encode(&self.sam, photo, &self.device)?)
    }

    /// The features that `extract --keep-features` kept of an image of a size, if the same weights made them in the same
    /// precision.
    ///
    /// # Errors
    /// Errors of the store; [`crate::error::ModelError::Output`] for features that are not of the model's shape.
    pub async fn kept_features(
        &self,
        snapshot: &Snapshot,
        image_id: &ImageId,
        size: Size,
    ) -> Result<Option<ImageFeatures>> {
        let kept = Kept::for_extractor(snapshot, &self.extractor).await?;
        let Some(kept) = kept.read(image_id).await? else {
            return Ok(None);
        };
        let numbers = kept.numbers();
        let kept = ImageFeatures::kept(&self.sam, size, kept.sizes, numbers, &self.device)?;
        Ok(Some(kept))
    }

    /// All masks that the decoder gives for a prompt, and the place of the best: for a single point, which is ambiguous,
    /// of the three for a part, an object or a group the one with the highest predicted IoU; else the single mask.
    ///
    /// # Errors
    /// As [`SamPredictor::predict`].
    pub fn predict(
        &self,
        features: &ImageFeatures,
        prompt: &Prompt,
    ) -> Result<(Vec<PredictedMask>, usize)> {
        let predictor = SamPredictor::with_features(&self.sam, features.clone(), &self.device)?;
        let masks = predictor.predict(prompt)?;
        let best = prompt
            .best_of(&masks)
            .ok_or(Error::ModelOutput { what: "masks" })?;
        Ok((masks, best))
    }
}

/// The extractor of the masks that a model gives for prompts: the same weights in the same precision on the same pixels give one
/// extractor, whose embeddings are comparable with those of its grids.
fn prompted(
    of_grid: &ExtractorRow,
    pixels: PixelTransform,
    precision: Precision,
    rendering: Rendering,
) -> ExtractorRow {
    let Rendering {
        channels,
        percentiles,
    } = rendering;
    let options: Map<String, Value> = [
        channels.map(|it| ("channels", json!(it))),
        percentiles.map(|it| ("percentiles", json!(it))),
        (!is_default(&pixels)).then(|| ("pixels", json!(pixels))),
        Some(("precision", json!(precision))),
        Some(("prompts", json!(true))),
    ]
    .into_iter()
    .flatten()
    .map(|(key, value)| (key.to_owned(), value))
    .collect();
    let options = Value::Object(options).to_string();
    let model_type = of_grid.model().to_owned();
    let parts = [model_type.as_str(), &of_grid.checkpoint_sha256, &options];
    ExtractorRow {
        extractor_id: ExtractorId::of_parts(parts),
        kind: ExtractorKind::Prompted,
        options,
        created_at: Utc::now(),
        ..of_grid.clone()
    }
}
