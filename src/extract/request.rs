//! A complete request for an extraction: a checkpoint with its options, and the images.

use std::path::PathBuf;

use super::generator::MaskGenerator;
use super::identity::{extractor_row, sam_embedder_row};
use super::options::{MaskOptions, SamVector};
use super::pending::{ImageSelection, Wanted};
use super::run::{DEFAULT_COMMIT_MASKS, Extractor, extract_with};
use super::summary::ExtractSummary;
use crate::Result;
use crate::device::{DeviceName, Precision};
use crate::models::sam::{Checkpoint, SamConfig};
use crate::progress::Progress;
use crate::store::Store;
use crate::store::rows::{EmbedderRow, ExtractorRow};
use crate::task::blocking;

/// Models whose input is at most this many pixels on a side extract one image per CPU thread by default.
const SMALL_MODEL: usize = 512;

/// What to extract.
#[derive(Debug, Clone)]
pub struct ExtractRequest {
    /// A file of weights, or a Hugging Face folder.
    pub checkpoint: PathBuf,
    /// Where to look for masks, and which to keep.
    pub options: MaskOptions,
    /// Vectors of masks to keep besides their tokens.
    pub vectors: Vec<SamVector>,
    /// Whether to keep the features of the image encoder, so that prompts can be decoded later without it.
    pub keep_features: bool,
    /// Precision that the model computes in.
    pub precision: Precision,
    /// Device that the model computes on.
    pub device: DeviceName,
    /// Maximum number of points decoded at once.
    pub points_per_batch: usize,
    /// The images to extract.
    pub selection: ImageSelection,
    /// Masks that are committed together.
    pub commit_masks: usize,
    /// Number of images extracted at once, each on one CPU thread; `None` for one per thread with small models on the
    /// CPU, otherwise for one.
    pub images_at_once: Option<usize>,
}

/// What an extraction makes.
pub(super) struct Identified {
    pub checkpoint: Checkpoint,
    /// Side of the model's input in pixels.
    pub image_size: usize,
    pub row: ExtractorRow,
    pub vectors: Vec<(SamVector, EmbedderRow)>,
}

impl Default for ExtractRequest {
    fn default() -> Self {
        Self {
            checkpoint: PathBuf::new(),
            options: MaskOptions::default(),
            vectors: Vec::new(),
            keep_features: false,
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
    /// What is kept besides masks, for the extractor of a row.
    ///
    /// # Errors
    /// [`crate::Error::ModelOutput`] for a model whose tokens are too wide for the store.
    pub fn wanted(&self, row: &ExtractorRow, config: &SamConfig) -> Result<Wanted> {
        let rows = self.vectors.iter();
        let rows = rows.map(|kind| self.embedder(row, config, *kind));
        Ok(Wanted {
            embedders: rows
                .map(|row| Ok(row?.embedder_id))
                .collect::<Result<_>>()?,
            features: self.keep_features,
        })
    }

    fn embedder(
        &self,
        row: &ExtractorRow,
        config: &SamConfig,
        vector: SamVector,
    ) -> Result<EmbedderRow> {
        sam_embedder_row(row, config, self.precision, self.options.pixels, vector)
    }

    /// What the extraction makes, without loading the model: the checkpoint, the row of its extractor, and those of the
    /// embedders of the vectors that are kept.
    pub(super) fn identify(&self) -> Result<Identified> {
        self.options.validate()?;
        self.options.check_features(self.keep_features)?;
        let checkpoint = Checkpoint::open(&self.checkpoint)?;
        let config = checkpoint.config()?;
        self.options.check_for(&config)?;
        let row = extractor_row(&checkpoint, &config, &self.options, self.precision)?;
        let mut kinds = self.vectors.clone();
        kinds.sort_unstable();
        kinds.dedup();
        let mut vectors = Vec::with_capacity(kinds.len());
        for kind in kinds {
            let embedder = self.embedder(&row, &config, kind)?;
            vectors.push((kind, embedder));
        }
        Ok(Identified {
            checkpoint,
            image_size: config.image_size,
            row,
            vectors,
        })
    }

    /// Loads the model.
    ///
    /// # Errors
    /// [`crate::Error::InvalidOption`]; [`crate::error::ModelError`] for a file that is not a checkpoint;
    /// [`crate::Error::Device`].
    pub fn open(&self) -> Result<Extractor> {
        let Identified {
            checkpoint,
            image_size,
            row,
            vectors,
        } = self.identify()?;
        let device = self.device.open()?;
        self.precision.check(self.device, &device)?;
        let sam = checkpoint.load_in(self.precision, &device)?;
        let (options, points) = (self.options.clone(), self.points_per_batch);
        let mut generator = MaskGenerator::new(sam, device, options, points)?;
        if self.vectors.contains(&SamVector::Neck) {
            generator = generator.with_neck();
        }
        let images_at_once = self.images_at_once.unwrap_or_else(|| {
            if self.device == DeviceName::Cpu && image_size <= SMALL_MODEL {
                std::thread::available_parallelism().map_or(1, usize::from)
            } else {
                1
            }
        });
        let extractor = Extractor::new(generator, row)
            .with_vectors(vectors)
            .with_commit_masks(self.commit_masks)
            .with_images_at_once(images_at_once);
        Ok(if self.keep_features {
            extractor.with_features()
        } else {
            extractor
        })
    }
}

/// Runs Segment Anything over the selected images that are not done yet, and adds every mask with its embedding.
///
/// A run may be stopped at any time and started again; several may run at once on one store.
///
/// # Examples
/// ```
/// use grainstore::extract::{ExtractRequest, ImageSelection, extract};
/// use grainstore::progress::NoProgress;
/// use grainstore::selection::ImageFilter;
///
/// # async fn example(store: &grainstore::store::Store) -> grainstore::Result<()> {
/// let request = ExtractRequest {
///     checkpoint: "sam_vit_b_01ec64.pth".into(),
///     selection: ImageSelection {
///         images: ImageFilter::dataset("pets"),
///         ..ImageSelection::default()
///     },
///     ..ExtractRequest::default()
/// };
/// let summary = extract(store, &request, &NoProgress).await?;
/// println!("{} masks of {} images", summary.masks, summary.images);
/// # Ok(())
/// # }
/// ```
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
