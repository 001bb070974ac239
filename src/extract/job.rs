//! Extraction by workers: what their tasks do, and the run that hands them out.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::generator::MaskGenerator;
use super::options::{MaskOptions, SamVector};
use super::pending::{ImageSelection, PendingImage, Wanted, images_done, pending_images};
use super::request::{ExtractRequest, Identified};
use super::run::{Running, failure_of, kept_for, named_in};
use super::summary::ExtractSummary;
use super::target::{Planned, Rows, Target};
use crate::device::Precision;
use crate::ids::{ExtractorId, ImageId};
use crate::jobs::{
    Committer, Job, JobId, JobOptions, Made, RunPlan, SharedFiles, Task, Waves, Work, Worker,
};
use crate::progress::Progress;
use crate::schema::{StoreTable, Table, VectorTable};
use crate::store::rows::{EmbedderRow, ExtractorRow, Row};
use crate::store::{Changes, Snapshot, Store};
use crate::task::blocking;
use crate::{Error, Result};

/// What the tasks of an extraction do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ExtractTask {
    job: JobId,
    /// The extractor that a worker must arrive at from the checkpoint and the options.
    extractor_id: ExtractorId,
    checkpoint: SharedFiles,
    options: MaskOptions,
    precision: Precision,
    vectors: Vec<SamVector>,
    keep_features: bool,
    points_per_batch: usize,
}

/// Images that a task extracts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chunk {
    images: Vec<PendingImage>,
    /// Whether the extractor has their masks, so that only what else is kept is missing.
    is_revisit: bool,
}

/// A model that is loaded, and what it makes.
struct Model {
    generator: Arc<MaskGenerator>,
    row: ExtractorRow,
    vectors: Vec<(SamVector, EmbedderRow)>,
    images_at_once: usize,
}

impl ExtractTask {
    async fn load(&self, worker: &Worker, store: &Store) -> Result<Model> {
        let options = worker.options();
        let request = ExtractRequest {
            checkpoint: self.checkpoint.fetch(store, &options.cache).await?,
            options: self.options.clone(),
            vectors: self.vectors.clone(),
            keep_features: self.keep_features,
            precision: self.precision,
            device: options.device,
            points_per_batch: self.points_per_batch,
            images_at_once: options.images_at_once,
            ..ExtractRequest::default()
        };
        let path = request.checkpoint.clone();
        let extractor = blocking("loading the model", move || request.open()).await?;
        if extractor.row.extractor_id != self.extractor_id {
            return Err(Error::Cluster {
                reason: format!(
                    "'{}' makes extractor {} on this worker, and made {} where the job was started: remove the file, which may be \
                     damaged, and start the job again, or give all machines the same version of grainstore",
                    path.display(),
                    extractor.row.extractor_id,
                    self.extractor_id
                ),
            });
        }
        Ok(Model {
            generator: Arc::new(extractor.generator),
            row: extractor.row,
            vectors: extractor.vectors,
            images_at_once: extractor.images_at_once,
        })
    }

    /// What is kept of images besides their masks, in words.
    fn kept(&self) -> Vec<String> {
        let mut kept: Vec<_> = self.vectors.iter().map(|kind| kind.word()).collect();
        kept.sort_unstable();
        kept.dedup();
        kept.extend(self.keep_features.then_some("features"));
        kept.into_iter().map(str::to_owned).collect()
    }
}

#[async_trait::async_trait]
impl Task for ExtractTask {
    const NODE: &'static str = "ExtractExec";
    type Chunk = Chunk;
    type Counts = Planned;

    fn job(&self) -> &JobId {
        &self.job
    }

    fn images<'a>(&self, chunk: &'a Chunk) -> Vec<&'a ImageId> {
        chunk.images.iter().map(|image| &image.image_id).collect()
    }

    fn words(&self, _: &Chunk) -> Vec<String> {
        self.kept()
    }

    async fn make(&self, worker: &Worker, store: &Store, chunk: Chunk) -> Result<Made<Planned>> {
        let name = format!("{} {:?}", self.extractor_id, self.kept());
        let model = worker.model(&name, self.load(worker, store)).await?;
        let snapshot = store.snapshot().await?;
        let vectors = named_in(&snapshot, model.vectors.clone()).await?;
        let target = if chunk.is_revisit {
            Target::new
        } else {
            Target::of_new_images
        };
        let target = target(model.row.clone(), vectors, model.generator.token_width());
        let mut batch = target.batch();
        let (generator, at_once) = (model.generator.clone(), model.images_at_once);
        let kept = kept_for(&generator, &snapshot, &model.row).await?;
        let mut running = Running::start(generator, store.photos(), chunk.images, at_once, kept);
        while let Some((image, result)) = running.next().await {
            match result {
                Ok(extracted) => target.add(&mut batch, extracted),
                Err(err) => batch.failures.push(failure_of("extract", &image, &err)),
            }
        }
        running.end().await?;
        let Rows {
            changes,
            new,
            failures,
            planned,
        } = target.rows(&snapshot, &batch).await?;
        Ok(Made {
            snapshot,
            changes,
            new: new.into_lists(),
            failures,
            counts: planned,
        })
    }
}

/// Like [`extract`](crate::extract::extract), with workers: the images are handed out in chunks, and this process commits what
/// the workers stage. The device and the number of images at once are the workers'.
///
/// A run may be stopped at any time and started again: what was staged is committed by the next run.
///
/// # Examples
/// ```
/// use grainstore::extract::{ExtractRequest, extract_with_workers};
/// use grainstore::jobs::{InThisProcess, JobOptions, WorkerOptions};
/// use grainstore::progress::NoProgress;
///
/// # async fn example(store: &grainstore::store::Store) -> grainstore::Result<()> {
/// let request = ExtractRequest {
///     checkpoint: "sam_vit_b_01ec64.pth".into(),
///     ..ExtractRequest::default()
/// };
/// let workers = InThisProcess::new(WorkerOptions::default());
/// let options = JobOptions::default();
/// let summary = extract_with_workers(store, &request, &workers, &options, &NoProgress).await?;
/// println!("{} masks of {} images", summary.masks, summary.images);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`extract`](crate::extract::extract); [`Error::Cluster`] if tasks failed for good, or none is making progress.
pub async fn extract_with_workers(
    store: &Store,
    request: &ExtractRequest,
    workers: &dyn RunPlan,
    options: &JobOptions,
    progress: &dyn Progress,
) -> Result<ExtractSummary> {
    let asked = request.clone();
    let identified = blocking("reading the checkpoint", move || asked.identify()).await?;
    let Identified {
        checkpoint,
        row,
        vectors,
        ..
    } = identified;
    store.check_embeddings(&row)?;
    let (opened, files) = (&request.checkpoint, checkpoint.files());
    let checkpoint = SharedFiles::put(store, opened, files, &row.checkpoint_sha256).await?;
    let snapshot = store.snapshot().await?;
    let vectors = named_in(&snapshot, vectors).await?;
    let embedders: Vec<EmbedderRow> = vectors.iter().map(|(_, row)| row.clone()).collect();
    register(store, &row, &embedders).await?;
    let task = ExtractTask {
        job: JobId::new(store, format!("extract-{}", row.extractor_id)),
        extractor_id: row.extractor_id.clone(),
        checkpoint,
        options: request.options.clone(),
        precision: request.precision,
        vectors: request.vectors.clone(),
        keep_features: request.keep_features,
        points_per_batch: request.points_per_batch,
    };
    let left = Left {
        store,
        extractor_id: row.extractor_id.clone(),
        wanted: Wanted {
            embedders: embedders.into_iter().map(|row| row.embedder_id).collect(),
            features: request.keep_features,
        },
        selection: &request.selection,
        chunk_images: options.chunk_images,
    };
    let sets = Target::new(row, vectors, 0).into_sets();
    let mut job = Job {
        store,
        committer: Committer::new(store, task.clone(), "extract", sets),
        task,
        waves: Waves::new(store, workers, options),
        commit_every: options.commit_every,
        progress,
    };
    job.run(&left).await?;
    let committer = job.committer;
    let mut summary = ExtractSummary {
        done_elsewhere: committer.done_elsewhere,
        failed: committer.failures,
        ..ExtractSummary::default()
    };
    for planned in committer.taken {
        summary.images += planned.images;
        summary.masks += planned.masks;
        summary.revisited += planned.revisited;
    }
    Ok(summary)
}

/// What is left of an extraction.
struct Left<'a> {
    store: &'a Store,
    extractor_id: ExtractorId,
    wanted: Wanted,
    selection: &'a ImageSelection,
    chunk_images: usize,
}

#[async_trait::async_trait]
impl Work for Left<'_> {
    type Task = ExtractTask;

    async fn left(&self, failed: &HashSet<ImageId>) -> Result<Vec<Chunk>> {
        let snapshot = self.store.snapshot().await?;
        let (extractor_id, wanted) = (&self.extractor_id, &self.wanted);
        let pending = pending_images(&snapshot, extractor_id, wanted, self.selection).await?;
        let done = images_done(&snapshot, extractor_id).await?;
        let (seen, new): (Vec<_>, Vec<_>) = pending
            .into_iter()
            .filter(|image| !failed.contains(&image.image_id))
            .partition(|image| done.contains(&image.image_id));
        let parts = [(new, false), (seen, true)];
        let chunks = parts.iter().flat_map(|(images, is_revisit)| {
            let chunks = images.chunks(self.chunk_images.max(1));
            chunks.map(|images| Chunk {
                images: images.to_vec(),
                is_revisit: *is_revisit,
            })
        });
        Ok(chunks.collect())
    }

    fn is_limited(&self) -> bool {
        self.selection.limit.is_some()
    }
}

/// Adds the rows of an extractor and of embedders, and the tables of their vectors, before workers write to them.
async fn register(store: &Store, row: &ExtractorRow, embedders: &[EmbedderRow]) -> Result<()> {
    let plan = |head: Snapshot| async move {
        let mut changes = Changes::new();
        let id = row.extractor_id.as_str();
        if !head
            .has_value(Table::Extractors, "extractor_id", id)
            .await?
        {
            let row = std::slice::from_ref(row);
            changes.append(ExtractorRow::TABLE, ExtractorRow::to_batch(row)?);
        }
        for embedder in embedders {
            let id = &embedder.embedder_id;
            if !head
                .has_value(Table::Embedders, "embedder_id", id.as_str())
                .await?
            {
                let row = std::slice::from_ref(embedder);
                changes.append(EmbedderRow::TABLE, EmbedderRow::to_batch(row)?);
            }
            let table = StoreTable::Vectors(VectorTable::Masks, id.clone());
            if !head.has_table(&table) {
                changes.create_vectors(VectorTable::Masks, id, embedder.dim())?;
            }
        }
        Ok(changes)
    };
    store.commit("register extractor", plan).await?;
    Ok(())
}
