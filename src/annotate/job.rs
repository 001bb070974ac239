//! Annotation by workers: what their tasks do, and the run that hands them out.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::annotator::Predictors;
use super::common::Common;
use super::pending::{PendingImages, predictions_of};
use super::policy::Policy;
use super::run::{AnnotateRequest, Deciding, READ};
use super::sink::rows_of;
use super::summary::AnnotateSummary;
use crate::Result;
use crate::catalogue::{find_head, with_prompted};
use crate::head::{HeadInputs, MaskPredictor, load_head, tables_read};
use crate::ids::{HeadId, ImageId};
use crate::jobs::{Committer, Job, JobId, JobOptions, Made, RunPlan, Task, Waves, Work, Worker};
use crate::progress::Progress;
use crate::schema::Table;
use crate::selection::ImageFilter;
use crate::store::rows::{PolicyRow, PredictionRow, Row};
use crate::store::{Changes, ImageSet, Snapshot, Store, is_of_extractors, is_of_images};

/// What the tasks of an annotation do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AnnotateTask {
    job: JobId,
    /// The version of the store that masks are read from.
    version: u64,
    head_id: HeadId,
    policy: Policy,
    /// The time of all predictions of the job.
    created_at: DateTime<Utc>,
}

/// Images that a task annotates, and how many masks each has.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Chunk {
    images: Vec<(ImageId, usize)>,
}

/// What is counted of a chunk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Counts {
    summary: AnnotateSummary,
    /// The version of `masks` that was read.
    version: Option<u64>,
    chunk: Chunk,
}

#[async_trait::async_trait]
impl Task for AnnotateTask {
    const NODE: &'static str = "AnnotateExec";
    type Chunk = Chunk;
    type Counts = Counts;

    fn job(&self) -> &JobId {
        &self.job
    }

    fn images<'a>(&self, chunk: &'a Chunk) -> Vec<&'a ImageId> {
        chunk.images.iter().map(|(image, _)| image).collect()
    }

    fn words(&self, chunk: &Chunk) -> Vec<String> {
        // With masks that were added since, an image is annotated anew.
        let masks = chunk.images.iter().map(|(_, masks)| *masks);
        vec![masks.sum::<usize>().to_string()]
    }

    async fn make(&self, _: &Worker, store: &Store, chunk: Chunk) -> Result<Made<Counts>> {
        let snapshot = store.snapshot_at(self.version).await?;
        let loaded = load_head(&snapshot, self.head_id.as_str()).await?;
        let common = Common::of(&snapshot, loaded.row.clone(), &self.policy).await?;
        let inputs = HeadInputs::of_row(&snapshot, &common.head).await?;
        let predictors = Predictors::Head(Box::new(MaskPredictor::new(loaded)?), inputs);
        let pending = PendingImages {
            masks: chunk.images.iter().cloned().collect(),
            partial: true,
            ..PendingImages::default()
        };
        let deciding = Deciding::start(&snapshot, &common, &self.policy, pending, predictors);
        let mut deciding = deciding.await?;
        let mut images = Vec::new();
        while let Some(decided) = deciding.next().await {
            images.extend(decided);
        }
        deciding.end().await?;
        let mut summary = AnnotateSummary::default();
        let rows = rows_of(&common, images.iter(), self.created_at, &mut summary)?;
        let mut changes = Changes::new();
        changes.append(PredictionRow::TABLE, PredictionRow::to_batch(&rows)?);
        let new = images.into_iter().map(|image| image.image_id).collect();
        let version = snapshot.version_of(Table::Masks);
        Ok(Made {
            snapshot,
            changes,
            new: vec![new],
            failures: Vec::new(),
            counts: Counts {
                summary,
                version,
                chunk,
            },
        })
    }

    async fn check(&self, head: &Snapshot) -> Result<()> {
        // The head may have been removed since the run began.
        find_head(head, self.head_id.as_str()).await.map(|_| ())
    }

    /// Images to which somebody has added masks since they were read are annotated again.
    async fn is_current(&self, head: &Snapshot, counts: &Counts) -> Result<bool> {
        if head.version_of(Table::Masks) == counts.version {
            return Ok(true);
        }
        let of_head = find_head(head, self.head_id.as_str()).await?.extractor_id;
        let extractors = with_prompted(head, &of_head).await?;
        let images = counts.chunk.images.iter().map(|(image, _)| image);
        let wanted = is_of_extractors(&extractors).and(is_of_images(images));
        let masks = head.dataset(Table::Masks).await?;
        let mut scanner = masks.scan();
        scanner.filter_expr(wanted);
        let now = scanner.count_rows().await?;
        let then: usize = counts.chunk.images.iter().map(|(_, masks)| masks).sum();
        Ok(now == then as u64)
    }
}

/// Like [`annotate`](crate::annotate::annotate), with workers: the images are handed out in chunks, and this process commits what
/// the workers stage.
///
/// # Errors
/// As [`annotate`](crate::annotate::annotate); [`crate::Error::Cluster`] if tasks failed for good, or none is making progress.
pub async fn annotate_with_workers(
    store: &Store,
    request: &AnnotateRequest,
    workers: &dyn RunPlan,
    options: &JobOptions,
    progress: &dyn Progress,
) -> Result<AnnotateSummary> {
    request.policy.validate()?;
    let snapshot = store.snapshot().await?;
    let head = load_head(&snapshot, &request.head).await?.row;
    let common = Common::of(&snapshot, head, &request.policy).await?;
    let inputs = HeadInputs::of_row(&snapshot, &common.head).await?;
    snapshot
        .verify(&tables_read(&READ, &inputs), progress)
        .await?;
    let registered = store
        .commit("register policy", |head| {
            let policy = common.policy.clone();
            async move {
                let mut changes = Changes::new();
                let row = PolicyRow::new(policy, head.now());
                row.append_if_new(&head, &mut changes).await?;
                Ok(changes)
            }
        })
        .await?;
    let queue = format!("annotate-{}-{}", common.head.head_id, common.policy_id);
    let task = AnnotateTask {
        job: JobId::new(store, queue),
        version: registered.snapshot.version(),
        head_id: common.head.head_id.clone(),
        policy: request.policy.clone(),
        created_at: registered.snapshot.now(),
    };
    let done = predictions_of(&common.head.head_id, &common.policy_id);
    let left = Left {
        snapshot: &registered.snapshot,
        common: &common,
        images: &request.images,
        inputs: &inputs,
        chunk_images: options.chunk_images,
    };
    let before = left.pending(&registered.snapshot).await?;
    let sets = vec![ImageSet::new(Table::Predictions, done)];
    let mut job = Job {
        store,
        committer: Committer::new(store, task.clone(), "annotate", sets),
        task,
        waves: Waves::new(store, workers, options),
        commit_every: options.commit_every,
        progress,
    };
    job.run(&left).await?;
    let mut summary = AnnotateSummary {
        head: common.head.head.clone(),
        head_id: Some(common.head.head_id.clone()),
        policy_id: Some(common.policy_id.clone()),
        done: before.done + job.committer.done_elsewhere,
        without_vectors: before.impossible,
        ..AnnotateSummary::default()
    };
    for counts in &job.committer.taken {
        summary.add(&counts.summary);
    }
    Ok(summary)
}

/// What is left of an annotation.
struct Left<'a> {
    /// What the workers read.
    snapshot: &'a Snapshot,
    common: &'a Common,
    images: &'a ImageFilter,
    inputs: &'a HeadInputs,
    chunk_images: usize,
}

impl Left<'_> {
    async fn pending(&self, snapshot: &Snapshot) -> Result<PendingImages> {
        PendingImages::of_masks(snapshot, self.common, self.images, self.inputs).await
    }
}

#[async_trait::async_trait]
impl Work for Left<'_> {
    type Task = AnnotateTask;

    async fn left(&self, _: &HashSet<ImageId>) -> Result<Vec<Chunk>> {
        let now = self.snapshot.store().snapshot().await?;
        let left = self.pending(&now).await?;
        // Workers read the snapshot of the job, also if masks came since.
        let there: HashMap<ImageId, usize> = self.pending(self.snapshot).await?.masks;
        let mut images: Vec<(ImageId, usize)> = there
            .into_iter()
            .filter(|(image, _)| left.masks.contains_key(image))
            .collect();
        images.sort_unstable();
        let chunks = images.chunks(self.chunk_images.max(1));
        Ok(chunks
            .map(|images| Chunk {
                images: images.to_vec(),
            })
            .collect())
    }

    fn is_limited(&self) -> bool {
        false
    }
}
