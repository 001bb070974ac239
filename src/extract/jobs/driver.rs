//! The run of a job: it hands out chunks, wave after wave, and commits what comes back.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::committer::Committer;
use super::plan::ExtractExec;
use super::run_plan::{JobOptions, RunPlan};
use super::spec::{ExtractSpec, identify};
use super::task::Chunk;
use crate::extract::pending::{PendingImage, Wanted, images_done, pending_images};
use crate::extract::request::{ExtractRequest, Identified};
use crate::extract::run::named_in;
use crate::extract::summary::ExtractSummary;
use crate::extract::target::Target;
use crate::ids::ImageId;
use crate::progress::Progress;
use crate::schema::{StoreTable, Table, VectorTable};
use crate::store::rows::{EmbedderRow, ExtractorRow, Row};
use crate::store::{Changes, Snapshot, Store};
use crate::{Error, Result};

/// Waves in a row of which no chunk came back, after which a job is given up.
const MAX_STUCK: u32 = 2;

/// Like [`extract`](crate::extract::extract), with workers: the images are handed out in chunks, and this process commits what
/// the workers stage. The device and the number of images at once are the workers'.
///
/// A run may be stopped at any time and started again: what was staged is committed by the next run.
///
/// # Examples
/// ```
/// use grainstore::extract::{
///     ExtractRequest, InThisProcess, JobOptions, WorkerOptions, extract_with_workers,
/// };
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
    let identified = identify(request).await?;
    store.check_embeddings(&identified.row)?;
    let job = format!("{:016x}", fastrand::u64(..));
    let spec = ExtractSpec::share(store, job, request, &identified).await?;
    let snapshot = store.snapshot().await?;
    let Identified { row, vectors, .. } = identified;
    let vectors = named_in(&snapshot, vectors).await?;
    let embedders: Vec<EmbedderRow> = vectors.iter().map(|(_, row)| row.clone()).collect();
    register(store, &row, &embedders).await?;
    let wanted = Wanted {
        embedders: embedders
            .iter()
            .map(|row| row.embedder_id.clone())
            .collect(),
        features: request.keep_features,
    };
    let target = Target::new(row.clone(), vectors, 0);
    let mut job = Job {
        store,
        committer: Committer::new(store, target, spec.queue()),
        spec: Arc::new(spec),
        workers,
        options,
        progress,
        next_task: 0,
    };
    // What an earlier run left.
    job.committer.collect(Duration::ZERO, progress).await?;
    job.committer.clear().await?;
    let pending = async |job: &Job<'_>| -> Result<(Snapshot, Vec<PendingImage>)> {
        let snapshot = store.snapshot().await?;
        let selection = &request.selection;
        let mut pending = pending_images(&snapshot, &row.extractor_id, &wanted, selection).await?;
        pending.retain(|image| !job.committer.failed.contains(&image.image_id));
        Ok((snapshot, pending))
    };
    let (mut snapshot, mut left) = pending(&job).await?;
    progress.start("images", Some(left.len() as u64));
    let (mut ended, mut stuck) = (Ok(()), 0);
    while !left.is_empty() {
        let before = left.len();
        let done = images_done(&snapshot, &row.extractor_id, None).await?;
        ended = job
            .run(chunks_of(
                std::mem::take(&mut left),
                &done,
                options.chunk_images,
            ))
            .await;
        if request.selection.limit.is_some() {
            break;
        }
        (snapshot, left) = pending(&job).await?;
        // A wave that failed is tried again as long as the job gets on.
        stuck = if left.len() < before { 0 } else { stuck + 1 };
        if stuck == MAX_STUCK {
            break;
        }
    }
    store.remove_tasks(&job.spec.job).await?;
    progress.finish();
    if request.selection.limit.is_some() {
        ended?;
    } else if !left.is_empty() {
        return Err(ended.err().unwrap_or_else(|| Error::Cluster {
            reason: format!("{} images were handed out, and not done", left.len()),
        }));
    }
    Ok(job.committer.summary)
}

/// A job that is under way.
struct Job<'a> {
    store: &'a Store,
    spec: Arc<ExtractSpec>,
    committer: Committer<'a>,
    workers: &'a dyn RunPlan,
    options: &'a JobOptions,
    progress: &'a dyn Progress,
    /// Number of the next task, which no other has.
    next_task: u32,
}

impl Job<'_> {
    /// Has chunks extracted and commits them, wave after wave.
    async fn run(&mut self, chunks: Vec<Chunk>) -> Result<()> {
        for wave in chunks.chunks(self.options.wave.max(1) as usize) {
            let (first, count) = (self.next_task, wave.len() as u32);
            self.next_task += count;
            self.store.put_tasks(&self.spec.job, first, wave).await?;
            let plan = Arc::new(ExtractExec::new(self.spec.clone(), first, count));
            let ended = self.watch(plan).await;
            // What was staged is kept, however the wave ended.
            self.committer
                .collect(Duration::ZERO, self.progress)
                .await?;
            self.committer.clear().await?;
            ended?;
        }
        Ok(())
    }

    /// Runs a plan, and meanwhile commits what it stages.
    async fn watch(&mut self, plan: Arc<ExtractExec>) -> Result<()> {
        let mut running = self.workers.run(plan);
        let age = self.options.commit_every;
        loop {
            tokio::select! {
                ended = &mut running => {
                    let rows = ended?;
                    tracing::info!(tasks = rows, chunks = self.committer.chunks, "a wave has ended");
                    return Ok(());
                }
                () = tokio::time::sleep(self.options.poll) => {
                    self.committer.collect(age, self.progress).await?;
                }
            }
        }
    }
}

/// Images in chunks of which each is of new images, or of images that have masks.
fn chunks_of(
    images: Vec<PendingImage>,
    done: &HashSet<ImageId>,
    chunk_images: usize,
) -> Vec<Chunk> {
    let (seen, new): (Vec<_>, Vec<_>) = images
        .into_iter()
        .partition(|image| done.contains(&image.image_id));
    let parts = [(new, false), (seen, true)];
    let parts = parts.iter().flat_map(|(images, is_revisit)| {
        let chunks = images.chunks(chunk_images.max(1));
        chunks.map(|images| Chunk {
            images: images.to_vec(),
            is_revisit: *is_revisit,
        })
    });
    parts.collect()
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
