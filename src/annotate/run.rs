//! The run: masks are read, predicted on a worker thread, and committed, with all stages running side by side.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, FieldRef, Schema};
use futures::StreamExt;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::annotator::{Annotator, DecidedImage, MaskPrediction, Predictors};
use super::common::Common;
use super::decider::{Candidate, Decider};
use super::pending::{Chunk, PendingImages, predictions_of_other_policies};
use super::policy::Policy;
use super::sink::Sink;
use super::summary::AnnotateSummary;
use crate::catalogue::{find_embedder, find_head, policies_of};
use crate::error::CatalogueError;
use crate::head::{HeadInputs, MaskPredictor, load_head, tables_read};
use crate::ids::{EmbedderId, ExtractorId, ImageId, PolicyId};
use crate::progress::Progress;
use crate::schema::Table;
use crate::selection::ImageFilter;
use crate::store::rows::{HeadRow, decode};
use crate::store::{Snapshot, Store, is_of_extractors, is_of_images};
use crate::vectors::VectorsOfImages;
use crate::{Error, Result};

/// Tables that predictions are made from; their files are checked to be as they were written.
pub(super) const READ: [Table; 4] = [
    Table::Images,
    Table::Masks,
    Table::Heads,
    Table::Predictions,
];
/// Maximum number of batches that wait for the worker, and for the writer.
const QUEUED: usize = 2;

/// What to annotate.
#[derive(Debug, Clone, Default)]
pub struct AnnotateRequest {
    /// Name or id of the head.
    pub head: String,
    /// Filter for the images that have masks of the head's extractor.
    pub images: ImageFilter,
    /// The policy that decides which masks are kept.
    pub policy: Policy,
}

/// Predicts the masks of images that have no predictions of the head under the policy yet.
///
/// A run may be stopped at any time and started again; several may run at once on one store. A run needs memory for a
/// few batches of masks, for an id and a number per image and, for a head over vectors, for those of 100,000 masks.
///
/// # Examples
/// ```
/// use grainstore::annotate::{AnnotateRequest, Policy, annotate};
/// use grainstore::progress::NoProgress;
/// use grainstore::selection::ImageFilter;
///
/// # async fn example(store: &grainstore::store::Store) -> grainstore::Result<()> {
/// let request = AnnotateRequest {
///     head: "pets".to_owned(),
///     images: ImageFilter::split("test"),
///     policy: Policy {
///         score_threshold: 0.5,
///         ..Policy::default()
///     },
/// };
/// let summary = annotate(store, &request, &NoProgress).await?;
/// println!("{} of {} masks kept", summary.kept, summary.masks);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`CatalogueError`] for a head that does not exist; [`crate::error::HeadError::Unusable`] for one without weights;
/// [`Error::InvalidOption`]; [`Error::DataFusion`] for a condition that cannot be planned; [`Error::StoreDamaged`] for
/// files that are not as they were written; errors of the store.
pub async fn annotate(
    store: &Store,
    request: &AnnotateRequest,
    progress: &dyn Progress,
) -> Result<AnnotateSummary> {
    request.policy.validate()?;
    let snapshot = store.snapshot().await?;
    let loaded = load_head(&snapshot, &request.head).await?;
    let common = Common::of(&snapshot, loaded.row.clone(), &request.policy).await?;
    let images = &request.images;
    let inputs = HeadInputs::of_row(&snapshot, &common.head).await?;
    let pending = PendingImages::of_masks(&snapshot, &common, images, &inputs).await?;
    snapshot
        .verify(&tables_read(&READ, &inputs), progress)
        .await?;
    Run {
        snapshot: &snapshot,
        operation: "annotate",
        policy: &request.policy,
        common: &common,
    }
    .run(
        pending,
        Predictors::Head(Box::new(MaskPredictor::new(loaded)?), inputs),
        progress,
    )
    .await
}

/// Applies another policy to stored scores, whatever policy they were stored under.
///
/// # Examples
/// ```
/// use grainstore::annotate::{AnnotateRequest, Policy, rethreshold};
/// use grainstore::progress::NoProgress;
/// use grainstore::selection::ImageFilter;
///
/// # async fn example(store: &grainstore::store::Store) -> grainstore::Result<()> {
/// let request = AnnotateRequest {
///     head: "pets".to_owned(),
///     images: ImageFilter::split("test"),
///     policy: Policy {
///         score_threshold: 0.8,
///         min_predicted_iou: 0.75,
///         ..Policy::default()
///     },
/// };
/// let summary = rethreshold(store, &request, &NoProgress).await?;
/// println!("{} of {} masks kept", summary.kept, summary.masks);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`annotate`]; [`CatalogueError::NoPredictions`].
pub async fn rethreshold(
    store: &Store,
    request: &AnnotateRequest,
    progress: &dyn Progress,
) -> Result<AnnotateSummary> {
    request.policy.validate()?;
    let snapshot = store.snapshot().await?;
    let head = find_head(&snapshot, &request.head).await?;
    let common = Common::of(&snapshot, head, &request.policy).await?;
    let policies = policies_of(&snapshot, &common.head.head_id).await?;
    if policies.is_empty() {
        return Err(Error::Catalogue(CatalogueError::NoPredictions {
            head: common.head.head,
        }));
    }
    let images = &request.images;
    let pending = PendingImages::of_predictions(&snapshot, &common, images).await?;
    snapshot.verify(&READ, progress).await?;
    let stored = stored(&snapshot, &common.head, &common.policy_id, &pending).await?;
    Run {
        snapshot: &snapshot,
        operation: "rethreshold",
        policy: &request.policy,
        common: &common,
    }
    .run(pending, Predictors::Stored(stored), progress)
    .await
}

/// Predictions of a head that are stored under other policies, by image and mask; all of them are held in memory.
async fn stored(
    snapshot: &Snapshot,
    head: &HeadRow,
    policy_id: &PolicyId,
    pending: &PendingImages,
) -> Result<HashMap<ImageId, HashMap<i32, MaskPrediction>>> {
    #[derive(Deserialize)]
    struct Stored {
        image_id: ImageId,
        mask_index: i32,
        class_index: i32,
        score: f64,
        entropy: Option<f32>,
    }
    let columns = ["image_id", "mask_index", "class_index", "score", "entropy"];
    let scan = snapshot.scan(Table::Predictions).await?.project(&columns)?;
    let mut wanted = predictions_of_other_policies(&head.head_id, policy_id);
    if let Some(of_images) = pending.filter() {
        wanted = wanted.and(of_images);
    }
    let mut rows = scan.filter(wanted).stream().await?;
    let mut found: HashMap<ImageId, HashMap<i32, MaskPrediction>> = HashMap::new();
    while let Some(batch) = rows.next().await {
        for row in decode::<Stored>(Table::Predictions, &batch?)? {
            if !pending.masks.contains_key(&row.image_id) {
                continue;
            }
            let prediction = MaskPrediction {
                candidate: Candidate {
                    mask_index: row.mask_index,
                    class: u32::try_from(row.class_index).map_err(|_| Error::StoreDamaged {
                        path: "predictions".to_owned(),
                        reason: format!("a class_index is {}", row.class_index),
                    })?,
                    score: row.score,
                    ..Candidate::default()
                },
                entropy: row.entropy,
            };
            let of_image = found.entry(row.image_id).or_default();
            of_image.insert(row.mask_index, prediction);
        }
    }
    Ok(found)
}

/// A run over the masks of some images.
struct Run<'a> {
    snapshot: &'a Snapshot,
    operation: &'static str,
    policy: &'a Policy,
    common: &'a Common,
}

impl Run<'_> {
    async fn run(
        &self,
        pending: PendingImages,
        predictors: Predictors,
        progress: &dyn Progress,
    ) -> Result<AnnotateSummary> {
        let head = &self.common.head;
        let summary = AnnotateSummary {
            head: head.head.clone(),
            head_id: Some(head.head_id.clone()),
            policy_id: Some(self.common.policy_id.clone()),
            done: pending.done,
            without_vectors: match &predictors {
                Predictors::Head(..) => pending.impossible,
                Predictors::Stored(_) => 0,
            },
            ..AnnotateSummary::default()
        };
        progress.start("images", Some(pending.masks.len() as u64));
        let store = self.snapshot.store();
        let mut sink = Sink::new(store, self.operation, self.common, summary);
        let mut ended = Ok(());
        if !pending.masks.is_empty() {
            let (snapshot, common) = (self.snapshot, self.common);
            let deciding = Deciding::start(snapshot, common, self.policy, pending, predictors);
            let mut deciding = deciding.await?;
            while let Some(images) = deciding.next().await {
                progress.advance(images.len() as u64);
                sink.push(images).await?;
            }
            ended = deciding.end().await;
        }
        // Predictions that were made are kept, however the run ended.
        let summary = sink.finish().await?;
        progress.finish();
        ended.map(|()| summary)
    }
}

/// Masks on their way through a head and a policy, on threads of their own.
pub(super) struct Deciding {
    images: mpsc::Receiver<Vec<DecidedImage>>,
    reading: JoinHandle<()>,
    worker: JoinHandle<Result<()>>,
}

impl Deciding {
    /// # Errors
    /// [`Error::InvalidOption`] for a policy of a class that the head does not have; errors of the store.
    pub async fn start(
        snapshot: &Snapshot,
        common: &Common,
        policy: &Policy,
        pending: PendingImages,
        predictors: Predictors,
    ) -> Result<Self> {
        let mut embedders = Vec::new();
        if let Predictors::Head(_, inputs) = &predictors {
            for (id, name) in inputs.embedders() {
                let dim = find_embedder(snapshot, id.as_str()).await?.dim();
                embedders.push((id.clone(), name.to_owned(), dim));
            }
        }
        let chunks = pending.chunks(!embedders.is_empty());
        let annotator = Annotator {
            predictors,
            policy: Decider::new(policy, &common.classes)?,
            expected: pending.masks,
            open: HashMap::new(),
        };
        let (to_worker, batches) = mpsc::channel(QUEUED);
        let (results, images) = mpsc::channel(QUEUED);
        let reading = tokio::spawn(
            MaskReader {
                snapshot: snapshot.clone(),
                extractors: common.extractors.clone(),
                columns: annotator.columns(),
                embedders,
            }
            .send(chunks, to_worker),
        );
        Ok(Self {
            images,
            reading,
            worker: tokio::task::spawn_blocking(move || work(annotator, batches, &results)),
        })
    }

    /// The images that were decided next; `None` at the end.
    pub async fn next(&mut self) -> Option<Vec<DecidedImage>> {
        self.images.recv().await
    }

    /// Waits for the threads, after the last image.
    pub async fn end(self) -> Result<()> {
        let ended = self.worker.await.unwrap_or_else(|source| {
            Err(Error::Worker {
                task: "predicting masks",
                source,
            })
        });
        self.reading.abort();
        ended
    }
}

/// Reads masks, with the vectors that a head needs.
struct MaskReader {
    snapshot: Snapshot,
    extractors: Vec<ExtractorId>,
    columns: Vec<&'static str>,
    /// Embedders, with the names of their columns and the lengths of their vectors.
    embedders: Vec<(EmbedderId, String, u32)>,
}

impl MaskReader {
    /// Sends batches to the worker, chunk of images by chunk, until the first error or until the worker has ended.
    async fn send(self, chunks: Vec<Chunk>, to_worker: mpsc::Sender<Result<RecordBatch>>) {
        for chunk in chunks {
            if let Err(err) = self.send_chunk(&chunk, &to_worker).await {
                // The worker has ended, too, if it does not take the error.
                let _ = to_worker.send(Err(err)).await;
                return;
            }
            if to_worker.is_closed() {
                return;
            }
        }
    }

    async fn send_chunk(
        &self,
        chunk: &Chunk,
        to_worker: &mpsc::Sender<Result<RecordBatch>>,
    ) -> Result<()> {
        let mut wanted = is_of_extractors(&self.extractors);
        let mut vectors = Vec::with_capacity(self.embedders.len());
        if let Chunk::Images(images) = chunk {
            wanted = wanted.and(is_of_images(images));
            for (id, name, dim) in &self.embedders {
                let read =
                    VectorsOfImages::read(&self.snapshot, id, &self.extractors, images).await?;
                vectors.push((name.as_str(), read, *dim));
            }
        }
        let scan = self.snapshot.scan(Table::Masks).await?;
        let scan = scan.project(&self.columns)?.filter(wanted);
        let mut rows = scan.stream().await?;
        while let Some(batch) = rows.next().await {
            let mut batch = batch?;
            for (name, vectors, dim) in &vectors {
                let column = vectors.column(&batch, *dim)?;
                batch = with_column(&batch, name, column)?;
            }
            if to_worker.send(Ok(batch)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// A batch with one more column.
fn with_column(batch: &RecordBatch, name: &str, column: ArrayRef) -> Result<RecordBatch> {
    let mut fields: Vec<FieldRef> = batch.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(name, column.data_type().clone(), true)));
    let mut columns = batch.columns().to_vec();
    columns.push(column);
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}

fn work(
    mut annotator: Annotator,
    mut batches: mpsc::Receiver<Result<RecordBatch>>,
    results: &mpsc::Sender<Vec<DecidedImage>>,
) -> Result<()> {
    while let Some(batch) = batches.blocking_recv() {
        let images = annotator.push(&batch?)?;
        if !images.is_empty() && results.blocking_send(images).is_err() {
            return Ok(());
        }
    }
    match annotator.open.keys().next() {
        None => Ok(()),
        Some(image) => Err(Error::StoreDamaged {
            path: "masks".to_owned(),
            reason: format!("image '{image}' lost masks while it was read"),
        }),
    }
}
