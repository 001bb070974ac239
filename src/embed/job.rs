//! Embedding by workers: what their tasks do, and the run that hands them out.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::embedder::Embedder;
use super::options::Resolved;
use super::pending::{PendingVectors, pending_vectors};
use super::request::EmbedRequest;
use super::run::Embedding;
use super::sink::add_rows;
use super::summary::EmbedSummary;
use crate::catalogue::find_embedder;
use crate::device::Precision;
use crate::extract::{Batches, ImageSelection, failure_of, masks_of_images, sha256_of_files};
use crate::ids::{EmbedderId, ExtractorId, ImageId};
use crate::jobs::{
    Committer, Job, JobId, JobOptions, Made, RunPlan, SharedFiles, Task, Waves, Work, Worker,
};
use crate::models::{Activation, EmbeddingModel, open_embedding_weights};
use crate::progress::Progress;
use crate::schema::{StoreTable, Table, VectorTable};
use crate::store::rows::{EmbedderRow, Row};
use crate::store::{Changes, ImageSet, Snapshot, Store};
use crate::task::blocking;
use crate::vectors::{VectorBatch, add_vectors, images_of_embedder};
use crate::{Error, Result};

/// What the tasks of an embedding do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EmbedTask {
    job: JobId,
    embedder_id: EmbedderId,
    /// `None` for vectors of whole images.
    extractor_id: Option<ExtractorId>,
    checkpoint: SharedFiles,
    options: Resolved,
    activation: Option<Activation>,
    precision: Precision,
    batch: usize,
}

/// Images that a task embeds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Chunk {
    images: Vec<PendingVectors>,
}

/// What is counted of a chunk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// The version of `extractions` by which the masks of an image were complete.
    version: Option<u64>,
    /// How many masks each image had.
    masks: Vec<(ImageId, u64)>,
    images: u64,
    vectors: u64,
}

impl EmbedTask {
    async fn load(&self, worker: &Worker, store: &Store, row: EmbedderRow) -> Result<Embedder> {
        let options = worker.options();
        let path = self.checkpoint.fetch(store, &options.cache).await?;
        let (task, name) = (self.clone(), options.device);
        let load = move || {
            let weights = open_embedding_weights(&path)?;
            if sha256_of_files(weights.files())? != row.checkpoint_sha256 {
                return Err(Error::Cluster {
                    reason: format!(
                        "'{}' on this worker is not what embedder '{}' was made from; remove it",
                        path.display(),
                        row.embedder
                    ),
                });
            }
            let device = name.open()?;
            task.precision.check(name, &device)?;
            Ok(Embedder {
                model: EmbeddingModel::load(weights, task.activation, task.precision, &device)?,
                device,
                options: task.options,
                row,
                batches: Batches::new(task.batch),
            })
        };
        blocking("loading the model", load).await
    }
}

#[async_trait::async_trait]
impl Task for EmbedTask {
    const NODE: &'static str = "EmbedExec";
    type Chunk = Chunk;
    type Counts = Counts;

    fn job(&self) -> &JobId {
        &self.job
    }

    fn images<'a>(&self, chunk: &'a Chunk) -> Vec<&'a ImageId> {
        chunk.images.iter().map(|it| &it.image.image_id).collect()
    }

    fn words(&self, chunk: &Chunk) -> Vec<String> {
        // With masks that were added since, an image is embedded anew.
        chunk.images.iter().map(|it| it.masks.to_string()).collect()
    }

    async fn make(&self, worker: &Worker, store: &Store, chunk: Chunk) -> Result<Made<Counts>> {
        let snapshot = store.snapshot().await?;
        let row = find_embedder(&snapshot, self.embedder_id.as_str()).await?;
        let name = self.embedder_id.as_str();
        let load = self.load(worker, store, row.clone());
        let embedder = worker.model(name, load).await?;
        let of_extractor = self.extractor_id.as_ref();
        let masks = chunk.images.iter();
        let masks = masks.map(|it| (it.image.image_id.clone(), it.masks));
        let mut counts = Counts {
            version: snapshot.version_of(Table::Extractions),
            masks: masks.collect(),
            images: 0,
            vectors: 0,
        };
        let (mut batch, mut failures) = (VectorBatch::default(), Vec::new());
        let mut running = Embedding::start(embedder, &snapshot, of_extractor, chunk.images).await?;
        while let Some((image, result)) = running.next().await {
            match result {
                Ok(embedded) => add_rows(&mut batch, embedded, &self.embedder_id, of_extractor)?,
                Err(err) => failures.push(failure_of("embed", &image, &err)),
            }
        }
        running.end().await?;
        let mut changes = Changes::new();
        let none = ImageSet::empty(Table::Embeddings);
        let added = add_vectors(&mut changes, &snapshot, &row, of_extractor, &none, &batch).await?;
        counts.images = added.images.len() as u64;
        counts.vectors = added.vectors;
        Ok(Made {
            snapshot,
            changes,
            new: vec![added.images],
            failures,
            counts,
        })
    }

    async fn check(&self, head: &Snapshot) -> Result<()> {
        // The embedder may have been removed since the run began.
        find_embedder(head, self.embedder_id.as_str())
            .await
            .map(|_| ())
    }

    /// Images to which somebody has added masks since they were read are embedded again.
    async fn is_current(&self, head: &Snapshot, counts: &Counts) -> Result<bool> {
        let Some(extractor_id) = &self.extractor_id else {
            return Ok(true);
        };
        if head.version_of(Table::Extractions) == counts.version {
            return Ok(true);
        }
        let images = counts.masks.iter().map(|(image, _)| image).collect();
        let now = masks_of_images(head, extractor_id, Some(images)).await?;
        let mut masks = counts.masks.iter();
        Ok(masks.all(|(image, masks)| now.get(image) == Some(masks)))
    }
}

/// Like [`embed`](crate::embed::embed), with workers: the images are handed out in chunks, and this process commits what the workers
/// stage. The device is the workers'.
///
/// # Errors
/// As [`embed`](crate::embed::embed); [`Error::Cluster`] if tasks failed for good, or none is making progress.
pub async fn embed_with_workers(
    store: &Store,
    request: &EmbedRequest,
    workers: &dyn RunPlan,
    options: &JobOptions,
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
    let (opened, sha256) = (&request.checkpoint, &row.checkpoint_sha256);
    let checkpoint = SharedFiles::put(store, opened, open.files(), sha256).await?;
    let kind = match extractor_id {
        Some(_) => VectorTable::Masks,
        None => VectorTable::Images,
    };
    register(store, &row, kind).await?;
    let masks_of = extractor_id.as_ref().map_or("images", |id| id.as_str());
    let task = EmbedTask {
        job: JobId::new(store, format!("embed-{}-{masks_of}", row.embedder_id)),
        embedder_id: row.embedder_id.clone(),
        extractor_id,
        checkpoint,
        options: open.resolved()?,
        activation: open.model().activation,
        precision: request.precision,
        batch: request.batch,
    };
    let of_extractor = task.extractor_id.as_ref();
    let sets = vec![images_of_embedder(&row.embedder_id, of_extractor)];
    let left = Left {
        store,
        task: &task,
        selection: &request.selection,
        chunk_images: options.chunk_images,
    };
    let mut job = Job {
        store,
        committer: Committer::new(store, task.clone(), "embed", sets),
        task: task.clone(),
        waves: Waves::new(store, workers, options),
        commit_every: options.commit_every,
        progress,
    };
    job.run(&left).await?;
    let committer = job.committer;
    Ok(EmbedSummary {
        embedder: row.embedder,
        images: committer.taken.iter().map(|counts| counts.images).sum(),
        vectors: committer.taken.iter().map(|counts| counts.vectors).sum(),
        done_elsewhere: committer.done_elsewhere,
        failed: committer.failures,
    })
}

/// What is left of an embedding.
struct Left<'a> {
    store: &'a Store,
    task: &'a EmbedTask,
    selection: &'a ImageSelection,
    chunk_images: usize,
}

#[async_trait::async_trait]
impl Work for Left<'_> {
    type Task = EmbedTask;

    async fn left(&self, failed: &HashSet<ImageId>) -> Result<Vec<Chunk>> {
        let snapshot = self.store.snapshot().await?;
        let (embedder_id, of_extractor) = (&self.task.embedder_id, self.task.extractor_id.as_ref());
        let mut pending =
            pending_vectors(&snapshot, embedder_id, of_extractor, self.selection).await?;
        pending.retain(|it| !failed.contains(&it.image.image_id));
        let chunks = pending.chunks(self.chunk_images.max(1));
        Ok(chunks
            .map(|images| Chunk {
                images: images.to_vec(),
            })
            .collect())
    }

    fn is_limited(&self) -> bool {
        self.selection.limit.is_some()
    }
}

/// Adds the row of an embedder and the table of its vectors, before workers write to it.
async fn register(store: &Store, row: &EmbedderRow, kind: VectorTable) -> Result<()> {
    let plan = |head: Snapshot| async move {
        let mut changes = Changes::new();
        let id = &row.embedder_id;
        if !head
            .has_value(Table::Embedders, "embedder_id", id.as_str())
            .await?
        {
            let row = std::slice::from_ref(row);
            changes.append(EmbedderRow::TABLE, EmbedderRow::to_batch(row)?);
        }
        if !head.has_table(&StoreTable::Vectors(kind, id.clone())) {
            changes.create_vectors(kind, id, row.dim())?;
        }
        Ok(changes)
    };
    store.commit("register embedder", plan).await?;
    Ok(())
}
