//! The run: masks are read, predicted on a worker thread, and committed, with all stages running side by side.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use datafusion::prelude::{col, lit};
use futures::StreamExt;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::annotator::{Annotator, DecidedImage, MaskPrediction, Predictors};
use super::pending::{PendingImages, predictions_of_other_policies};
use super::policy::{Candidate, Policy};
use super::sink::{Common, Sink};
use super::summary::AnnotateSummary;
use crate::catalogue::{find_head, policies_of};
use crate::error::CatalogueError;
use crate::head::{MaskPredictor, StoredSpec, load_head};
use crate::ids::{ImageId, PolicyId};
use crate::progress::Progress;
use crate::schema::Table;
use crate::selection::ImageFilter;
use crate::store::rows::{HeadRow, decode};
use crate::store::{Snapshot, Store, send_batches};
use crate::{Error, Result};

/// Tables that predictions are made from; their files are checked to be as they were written.
const READ: [Table; 4] = [
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
/// few batches of masks, and for an id and a number per image.
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
    let common = common(loaded.row.clone(), &request.policy)?;
    let images = &request.images;
    let pending =
        PendingImages::of_masks(&snapshot, &common.head, &common.policy_id, images).await?;
    snapshot.verify(&READ, progress).await?;
    Run {
        snapshot: &snapshot,
        operation: "annotate",
        policy: &request.policy,
        common: &common,
    }
    .run(
        pending,
        Predictors::Head(Box::new(MaskPredictor::new(loaded))),
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
    let common = common(head, &request.policy)?;
    let policies = policies_of(&snapshot, &common.head.head_id).await?;
    if policies.is_empty() {
        return Err(Error::Catalogue(CatalogueError::NoPredictions {
            head: common.head.head,
        }));
    }
    let images = &request.images;
    let (of_head, policy_id) = (&common.head, &common.policy_id);
    let pending = PendingImages::of_predictions(&snapshot, of_head, policy_id, images).await?;
    snapshot.verify(&READ, progress).await?;
    let stored = stored(&snapshot, of_head, policy_id, &pending).await?;
    Run {
        snapshot: &snapshot,
        operation: "rethreshold",
        policy: &request.policy,
        common: &common,
    }
    .run(pending, Predictors::Stored(stored), progress)
    .await
}

fn common(head: HeadRow, policy: &Policy) -> Result<Common> {
    Ok(Common {
        classes: StoredSpec::of_row(&head)?.head.classes,
        policy_id: policy.id()?,
        policy: policy.to_json()?,
        head,
    })
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
            ..AnnotateSummary::default()
        };
        progress.start("images", Some(pending.masks.len() as u64));
        let store = self.snapshot.store();
        let mut sink = Sink::new(store, self.operation, self.common, summary);
        let mut ended = Ok(());
        if !pending.masks.is_empty() {
            let mut wanted = col("extractor_id").eq(lit(head.extractor_id.as_str()));
            if let Some(of_images) = pending.filter() {
                wanted = wanted.and(of_images);
            }
            let annotator = Annotator {
                predictors,
                policy: self.policy.clone(),
                expected: pending.masks,
                open: HashMap::new(),
            };
            let scan = self.snapshot.scan(Table::Masks).await?;
            let masks = scan.project(annotator.columns())?.filter(wanted);
            let (to_worker, batches) = mpsc::channel(QUEUED);
            let (results, mut from_worker) = mpsc::channel(QUEUED);
            let reading = tokio::spawn(send_batches(masks.stream().await?, to_worker));
            let worker = tokio::task::spawn_blocking(move || work(annotator, batches, &results));
            while let Some(images) = from_worker.recv().await {
                progress.advance(images.len() as u64);
                sink.push(images).await?;
            }
            ended = worker.await.unwrap_or_else(|source| {
                Err(Error::Worker {
                    task: "predicting masks",
                    source,
                })
            });
            reading.abort();
        }
        // Predictions that were made are kept, however the run ended.
        let summary = sink.finish().await?;
        progress.finish();
        ended.map(|()| summary)
    }
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
