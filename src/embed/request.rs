//! A complete request for an embedding: weights with their options, and the masks or images.

use std::path::PathBuf;

use super::embedder::Embedder;
use super::identity::embedder_row;
use super::options::{EmbedOptions, Pool, Resolved};
use super::run::run;
use super::summary::EmbedSummary;
use crate::catalogue::{embedders_stored, extractors_to_choose, find_extractor};
use crate::device::{DeviceName, Precision};
use crate::error::{CatalogueError, Named};
use crate::extract::{Batches, ImageSelection};
use crate::ids::{ExtractorId, check_name};
use crate::models::{EmbeddingModel, EmbeddingModelInfo, Weights, open_embedding_weights};
use crate::progress::Progress;
use crate::schema::Table;
use crate::store::rows::EmbedderRow;
use crate::store::{Snapshot, Store};
use crate::task::blocking;
use crate::vectors::{check_free, free_name};
use crate::{Error, Result};

/// Default number of crops that go through the network at once.
const DEFAULT_BATCH: usize = 25;
/// Default number of vectors that are committed together, unless 20 seconds pass first.
const DEFAULT_COMMIT_VECTORS: usize = 32_768;

/// What to embed.
#[derive(Debug, Clone)]
pub struct EmbedRequest {
    /// A file of weights, or a Hugging Face folder.
    pub checkpoint: PathBuf,
    /// Name of the embedder; `None` for that of its network.
    pub name: Option<String>,
    /// What changes the vectors.
    pub options: EmbedOptions,
    /// Precision that the network computes in.
    pub precision: Precision,
    /// Device that the network computes on.
    pub device: DeviceName,
    /// The first digits of the id of the extractor whose masks are embedded; `None` for the only one.
    pub extractor: Option<String>,
    /// The images whose masks are embedded.
    pub selection: ImageSelection,
    /// Maximum number of crops that go through the network at once.
    pub batch: usize,
    /// Vectors that are committed together.
    pub commit_vectors: usize,
}

impl Default for EmbedRequest {
    fn default() -> Self {
        Self {
            checkpoint: PathBuf::new(),
            name: None,
            options: EmbedOptions::default(),
            precision: Precision::default(),
            device: DeviceName::default(),
            extractor: None,
            selection: ImageSelection::default(),
            batch: DEFAULT_BATCH,
            commit_vectors: DEFAULT_COMMIT_VECTORS,
        }
    }
}

/// Weights that have been opened, but not read, and the embedder that they make.
#[derive(Debug)]
pub struct OpenEmbedder {
    weights: Weights,
    options: EmbedOptions,
    model: EmbeddingModelInfo,
    row: EmbedderRow,
}

impl OpenEmbedder {
    /// The row of `embedders` that identifies it.
    pub fn row(&self) -> &EmbedderRow {
        &self.row
    }

    /// What is known about the network.
    pub fn model(&self) -> &EmbeddingModelInfo {
        &self.model
    }

    /// The files of the weights.
    pub(super) fn files(&self) -> &[PathBuf] {
        self.weights.files()
    }

    /// Its options, with those of the network in place of what is not given.
    pub(super) fn resolved(&self) -> Result<Resolved> {
        self.options.resolve(&self.model)
    }

    /// Whether it makes vectors of whole images, not of masks.
    pub fn is_of_images(&self) -> bool {
        self.options.pool == Some(Pool::Image)
    }
}

impl EmbedRequest {
    /// Opens the weights and resolves every option, without loading the network.
    ///
    /// # Errors
    /// [`Error::InvalidOption`]; [`Error::InvalidName`]; [`crate::error::ModelError`] for a file that holds no such
    /// network.
    pub fn open(&self) -> Result<OpenEmbedder> {
        if let Some(name) = &self.name {
            check_embedder_name(name)?;
        }
        let weights = open_embedding_weights(&self.checkpoint)?;
        let model = EmbeddingModelInfo::of(&weights, self.options.activation)?;
        let name = self.name.as_deref();
        let row = embedder_row(&weights, &model, &self.options, self.precision, name)?;
        Ok(OpenEmbedder {
            weights,
            options: self.options.clone(),
            model,
            row,
        })
    }

    /// The row of the embedder in a store: the name that it was registered under, or a free one.
    ///
    /// # Errors
    /// [`crate::error::VectorError::EmbedderExists`] if another embedder has the name that was asked for; errors of the store.
    pub async fn named_in(&self, snapshot: &Snapshot, row: &EmbedderRow) -> Result<EmbedderRow> {
        let stored = embedders_stored(snapshot).await?;
        let known = stored.iter().find(|it| it.embedder_id == row.embedder_id);
        if let Some(known) = known {
            return match &self.name {
                Some(name) if *name != known.embedder => Err(Error::InvalidOption {
                    what: "name",
                    value: name.clone(),
                    expected: format!("'{}', which this embedder has already", known.embedder),
                }),
                _ => Ok(known.clone()),
            };
        }
        if self.name.is_some() {
            check_free(&stored, row)?;
        }
        // A default name gets a part of the id, so that options can be tried without thinking of names.
        Ok(free_name(&stored, row.clone()))
    }

    /// The extractor whose masks are embedded.
    ///
    /// # Errors
    /// [`CatalogueError`] if there is none of that id, or if several could be meant.
    pub async fn extractor_in(&self, snapshot: &Snapshot) -> Result<ExtractorId> {
        if self.extractor.is_some() {
            let found = find_extractor(snapshot, self.extractor.as_deref()).await?;
            return Ok(found.extractor_id);
        }
        let stored = extractors_to_choose(snapshot).await?;
        match &stored[..] {
            [only] => Ok(only.extractor_id.clone()),
            [] => Err(Error::Catalogue(CatalogueError::Empty {
                kind: Named::Extractor,
            })),
            several => Err(Error::Catalogue(CatalogueError::Choose {
                kind: Named::Extractor,
                found: several
                    .iter()
                    .map(|row| {
                        format!("{} ({}, {})", row.extractor_id, row.model(), row.checkpoint)
                    })
                    .collect(),
            })),
        }
    }

    fn load(&self, open: OpenEmbedder, row: EmbedderRow) -> Result<Embedder> {
        let device = self.device.open()?;
        self.precision.check(self.device, &device)?;
        let options = open.options.resolve(&open.model)?;
        let activation = open.model.activation;
        let model = EmbeddingModel::load(open.weights, activation, self.precision, &device)?;
        Ok(Embedder {
            model,
            device,
            options,
            row,
            batches: Batches::new(self.batch),
        })
    }
}

/// Checks the name of an embedder, which is also that of a table in SQL.
fn check_embedder_name(name: &str) -> Result<()> {
    check_name("embedder", name)?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let masks = Table::Masks.schema();
    let words = ["tokens", "shape", "label", "labels"];
    let is_reserved = words.contains(&name) || masks.field_with_name(name).is_ok();
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    if starts && name.chars().all(plain) && !is_reserved {
        return Ok(());
    }
    Err(Error::InvalidOption {
        what: "name",
        value: name.to_owned(),
        expected: "lower-case letters, digits and '_', beginning with a letter, and no column of masks, 'tokens', \
                   'shape', 'label' or 'labels': it is the name of a table and of a column"
            .to_owned(),
    })
}

/// Runs an embedding network over the masks of the selected images, or over these images as a whole, that it has not
/// done yet, and adds their vectors.
///
/// A run may be stopped at any time and started again; several may run at once on one store.
///
/// # Examples
/// ```
/// use grainstore::embed::{EmbedRequest, embed};
/// use grainstore::progress::NoProgress;
///
/// # async fn example(store: &grainstore::store::Store) -> grainstore::Result<()> {
/// let request = EmbedRequest {
///     checkpoint: "dinov2_vitb14_pretrain.pth".into(),
///     ..EmbedRequest::default()
/// };
/// let summary = embed(store, &request, &NoProgress).await?;
/// println!("{} vectors in vectors.{}", summary.vectors, summary.embedder);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`EmbedRequest::open`], [`EmbedRequest::named_in`] and [`EmbedRequest::extractor_in`]; [`Error::Device`];
/// [`Error::Embedding`] if the network fails; errors of the store. An image that cannot be read is recorded in
/// `failures` instead.
pub async fn embed(
    store: &Store,
    request: &EmbedRequest,
    progress: &dyn Progress,
) -> Result<EmbedSummary> {
    let snapshot = store.snapshot().await?;
    let asked = request.clone();
    let open = blocking("opening the weights", move || asked.open()).await?;
    let row = request.named_in(&snapshot, open.row()).await?;
    let extractor_id = if open.is_of_images() {
        None
    } else {
        Some(request.extractor_in(&snapshot).await?)
    };
    let asked = request.clone();
    let embedder = blocking("loading the model", move || asked.load(open, row)).await?;
    run(
        store,
        embedder,
        extractor_id.as_ref(),
        &request.selection,
        request.commit_vectors,
        progress,
    )
    .await
}
