//! Embedded images become commits: their vectors and the marks that they are done are written together.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;

use super::summary::EmbedSummary;
use crate::extract::masks_of_images;
use crate::ids::{EmbedderId, ExtractorId, ImageId};
use crate::schema::Table;
use crate::store::rows::{
    EmbedderRow, EmbeddingDoneRow, FailureRow, ImageVectorRow, Row, VectorRow, unrecorded_failures,
};
use crate::store::{Changes, ImageSet, Snapshot, Store};
use crate::vectors::{VectorBatch, add_vectors, images_of_embedder};
use crate::{Error, Result};

/// A batch is committed once it is this old, however few vectors it holds, which limits the work that is lost to a kill.
const BATCH_AGE: Duration = Duration::from_secs(20);

/// An image that went through the model.
#[derive(Debug)]
pub(super) struct Embedded {
    pub image_id: ImageId,
    pub vectors: Vectors,
    pub seconds: f64,
}

/// What an image got.
#[derive(Debug)]
pub(super) enum Vectors {
    /// A vector per mask, by mask index.
    Masks(Vec<(i32, Vec<f32>)>),
    /// One.
    Image(Vec<f32>),
}

/// Collects images and commits them in batches.
pub(super) struct Sink<'a> {
    store: &'a Store,
    embedder: &'a EmbedderRow,
    extractor_id: Option<&'a ExtractorId>,
    /// Number of masks that each image had when its masks were read.
    counted: HashMap<ImageId, u64>,
    /// The version of `extractions` that was counted.
    counted_at: Option<u64>,
    done: ImageSet,
    commit_vectors: usize,
    batch: VectorBatch,
    failures: Vec<FailureRow>,
    opened: Instant,
    summary: EmbedSummary,
}

impl<'a> Sink<'a> {
    pub fn new(
        snapshot: &'a Snapshot,
        embedder: &'a EmbedderRow,
        extractor_id: Option<&'a ExtractorId>,
        counted: HashMap<ImageId, u64>,
        commit_vectors: usize,
    ) -> Self {
        Self {
            store: snapshot.store(),
            embedder,
            extractor_id,
            counted,
            counted_at: snapshot.version_of(Table::Extractions),
            done: images_of_embedder(&embedder.embedder_id, extractor_id),
            commit_vectors,
            batch: VectorBatch::default(),
            failures: Vec::new(),
            opened: Instant::now(),
            summary: EmbedSummary {
                embedder: embedder.embedder.clone(),
                ..EmbedSummary::default()
            },
        }
    }

    /// Takes an image, and commits when the batch is large or old enough.
    pub async fn push(&mut self, image: Embedded) -> Result<()> {
        add_rows(
            &mut self.batch,
            image,
            &self.embedder.embedder_id,
            self.extractor_id,
        )?;
        self.flush_if_due().await
    }

    /// Takes the failure of an image that could not be embedded.
    pub async fn fail(&mut self, failure: FailureRow) -> Result<()> {
        self.summary.failed += 1;
        self.failures.push(failure);
        self.flush_if_due().await
    }

    /// Commits what is left.
    pub async fn finish(mut self) -> Result<EmbedSummary> {
        self.flush().await?;
        Ok(self.summary)
    }

    async fn flush_if_due(&mut self) -> Result<()> {
        let waiting = self.batch.masks.len() + self.batch.images.len();
        if waiting >= self.commit_vectors || self.opened.elapsed() >= BATCH_AGE {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.opened = Instant::now();
        let batch = Arc::new(mem::take(&mut self.batch));
        let failures = Arc::new(mem::take(&mut self.failures));
        if batch.done.is_empty() && failures.is_empty() {
            return Ok(());
        }
        let (embedder, extractor_id) = (self.embedder, self.extractor_id);
        let (counted, counted_at, done) = (&self.counted, self.counted_at, &self.done);
        let (commit, added) = self
            .store
            .commit_with("embed", |head| {
                let (batch, failures) = (batch.clone(), failures.clone());
                async move {
                    let mut changes = Changes::new();
                    let grown = match extractor_id {
                        Some(id) if head.version_of(Table::Extractions) != counted_at => {
                            images_grown(&head, id, &batch, counted).await?
                        }
                        _ => HashSet::new(),
                    };
                    let batch = batch.without(&grown);
                    let added =
                        add_vectors(&mut changes, &head, embedder, extractor_id, done, &batch)
                            .await?;
                    let failures = unrecorded_failures(&head, &failures).await?;
                    changes.append(FailureRow::TABLE, FailureRow::to_batch(&failures)?);
                    Ok((changes, added))
                }
            })
            .await?;
        if commit.changed && !added.images.is_empty() {
            self.done.add(&commit.snapshot, &added.images).await?;
        }
        let images = added.images.len() as u64;
        self.summary.images += images;
        self.summary.vectors += added.vectors;
        self.summary.done_elsewhere += batch.done.len() as u64 - images;
        Ok(())
    }
}

/// Adds the rows of an image to a batch.
pub(super) fn add_rows(
    batch: &mut VectorBatch,
    image: Embedded,
    embedder_id: &EmbedderId,
    extractor_id: Option<&ExtractorId>,
) -> Result<()> {
    let count = match image.vectors {
        Vectors::Image(vector) => {
            batch.images.push(ImageVectorRow {
                image_id: image.image_id.clone(),
                vector,
            });
            1
        }
        Vectors::Masks(vectors) => {
            let count = vectors.len();
            let extractor_id = extractor_id.ok_or(Error::Internal {
                what: "vectors of masks without an extractor",
            })?;
            let rows = vectors.into_iter().map(|(mask_index, vector)| VectorRow {
                extractor_id: extractor_id.clone(),
                image_id: image.image_id.clone(),
                mask_index,
                vector,
            });
            batch.masks.extend(rows);
            count
        }
    };
    batch.done.push(EmbeddingDoneRow {
        embedder_id: embedder_id.clone(),
        extractor_id: extractor_id.cloned(),
        image_id: image.image_id,
        vectors: i32::try_from(count).unwrap_or(i32::MAX),
        seconds: image.seconds,
        embedded_at: Utc::now(),
    });
    Ok(())
}

/// The images of a batch to which somebody has added masks since they were read: they are embedded by a later run.
async fn images_grown(
    head: &Snapshot,
    extractor_id: &ExtractorId,
    batch: &VectorBatch,
    counted: &HashMap<ImageId, u64>,
) -> Result<HashSet<ImageId>> {
    let images: Vec<&ImageId> = batch.done.iter().map(|row| &row.image_id).collect();
    let now = masks_of_images(head, extractor_id, Some(images.clone())).await?;
    let grown = |image: &&ImageId| now.get(*image) != counted.get(*image);
    Ok(images.into_iter().filter(grown).cloned().collect())
}
