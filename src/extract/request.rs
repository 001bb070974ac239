//! What to extract, as a whole: a checkpoint with its options, and the images.

use std::path::PathBuf;

use super::generator::MaskGenerator;
use super::identity::extractor_row;
use super::options::MaskOptions;
use super::pending::ImageSelection;
use super::run::{DEFAULT_COMMIT_MASKS, ExtractSummary, Extractor, extract_with};
use crate::Result;
use crate::device::{DeviceName, Precision};
use crate::progress::Progress;
use crate::sam::Checkpoint;
use crate::store::Store;
use crate::task::blocking;

/// Models whose input is at most this many pixels a side take an image a CPU thread, unless told otherwise.
const SMALL_MODEL: usize = 512;

/// What to extract.
#[derive(Debug, Clone)]
pub struct ExtractRequest {
    /// A file of weights, or a folder of Hugging Face's.
    pub checkpoint: PathBuf,
    /// Where to look for masks, and which to keep.
    pub options: MaskOptions,
    /// What the model computes in.
    pub precision: Precision,
    /// Where it computes.
    pub device: DeviceName,
    /// Points decoded at once, at most.
    pub points_per_batch: usize,
    /// Which images.
    pub selection: ImageSelection,
    /// Masks that are committed together.
    pub commit_masks: usize,
    /// Images at once, a CPU thread each; none: one a thread for small models on the CPU, else one.
    pub images_at_once: Option<usize>,
}

impl Default for ExtractRequest {
    fn default() -> Self {
        Self {
            checkpoint: PathBuf::new(),
            options: MaskOptions::default(),
            precision: Precision::default(),
            device: DeviceName::default(),
            points_per_batch: 64,
            selection: ImageSelection::default(),
            commit_masks: DEFAULT_COMMIT_MASKS,
            images_at_once: None,
        }
    }
}

impl ExtractRequest {
    /// Loads the model.
    ///
    /// # Errors
    /// [`crate::Error::InvalidOption`]; [`crate::error::SamError`] for what is no checkpoint; [`crate::Error::Device`].
    pub fn open(&self) -> Result<Extractor> {
        self.options.validate()?;
        let checkpoint = Checkpoint::open(&self.checkpoint)?;
        let config = checkpoint.config()?;
        let row = extractor_row(&checkpoint, &config, &self.options, self.precision)?;
        let device = self.device.open()?;
        self.precision.check(self.device, &device)?;
        let sam = checkpoint.load_in(self.precision, &device)?;
        let (options, points) = (self.options.clone(), self.points_per_batch);
        let generator = MaskGenerator::new(sam, device, options, points)?;
        let images_at_once = self.images_at_once.unwrap_or_else(|| {
            if self.device == DeviceName::Cpu && config.image_size <= SMALL_MODEL {
                std::thread::available_parallelism().map_or(1, usize::from)
            } else {
                1
            }
        });
        Ok(Extractor::new(generator, row)
            .with_commit_masks(self.commit_masks)
            .with_images_at_once(images_at_once))
    }
}

/// Runs Segment Anything over the images that it is not done with, and adds every mask with its embedding.
///
/// May be stopped at any time and run again; several may run at once on one store.
///
/// # Errors
/// As [`ExtractRequest::open`] and [`extract_with`].
pub async fn extract(
    store: &Store,
    request: &ExtractRequest,
    progress: &dyn Progress,
) -> Result<ExtractSummary> {
    let opened = request.clone();
    let extractor = blocking("loading the model", move || opened.open()).await?;
    extract_with(store, extractor, &request.selection, progress).await
}
