//! One task: the photos of a chunk go through the model, and what comes out is staged.

use std::mem;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::spec::ExtractSpec;
use super::worker::Worker;
use crate::extract::pending::PendingImage;
use crate::extract::run::{Running, failure_of, named_in};
use crate::extract::target::{NewImages, Planned, Rows, Target};
use crate::ids::hex;
use crate::store::rows::FailureRow;
use crate::store::{StagedRows, Store};
use crate::{Error, Result};

/// Images that a task extracts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Chunk {
    pub images: Vec<PendingImage>,
    /// Whether the extractor has their masks, so that only what else is kept is missing.
    pub is_revisit: bool,
}

impl Chunk {
    /// A name for what the chunk becomes.
    pub fn key(&self, spec: &ExtractSpec) -> String {
        let mut hash = Sha256::new();
        for part in spec.kept() {
            hash.update(part);
            hash.update("\n");
        }
        for image in &self.images {
            hash.update(image.image_id.as_str());
        }
        hex(hash.finalize().get(..16).unwrap_or_default())
    }
}

/// What a task made of a chunk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StagedChunk {
    /// Images that the task looked at, with or without success.
    pub images: u64,
    pub new: NewImages,
    pub planned: Planned,
    pub rows: StagedRows,
    pub failures: Vec<FailureRow>,
    pub seconds: f64,
}

/// Times that a task is tried, if what fails may pass: a bucket that does not answer, a disk that is full.
const ATTEMPTS: u32 = 4;

/// Like [`run`], with a few attempts. The engine itself ends a job with the first task that fails.
pub(super) async fn run_again(
    worker: &Worker,
    spec: &ExtractSpec,
    number: u32,
) -> Result<StagedChunk> {
    let mut attempt = 1;
    loop {
        match run(worker, spec, number).await {
            Err(err) if attempt < ATTEMPTS && may_pass(&err) => {
                tracing::warn!(chunk = number, attempt, "is tried again: {err}");
                tokio::time::sleep(Duration::from_secs(1 << attempt)).await;
                attempt += 1;
            }
            ended => return ended,
        }
    }
}

fn may_pass(err: &Error) -> bool {
    matches!(
        err,
        Error::Lance(_) | Error::Location { .. } | Error::File { .. }
    )
}

/// Extracts a chunk and stages its rows, unless somebody has staged them.
async fn run(worker: &Worker, spec: &ExtractSpec, number: u32) -> Result<StagedChunk> {
    let _slot = worker.slot().await?;
    let started = Instant::now();
    let store = worker.store(&spec.store).await?;
    let chunk: Chunk = store.task(&spec.job, number).await?;
    let (queue, key) = (spec.queue(), chunk.key(spec));
    if let Some(staged) = staged(&store, &queue, &key).await? {
        return Ok(staged);
    }
    let made = extract(worker, spec, &store, &chunk).await?;
    let made = StagedChunk {
        seconds: started.elapsed().as_secs_f64(),
        ..made
    };
    if store.put_staged(&queue, &key, &made).await? {
        let (masks, seconds) = (made.planned.masks, made.seconds);
        tracing::info!(
            chunk = number,
            images = made.images,
            masks,
            seconds,
            "staged"
        );
        return Ok(made);
    }
    // Somebody was quicker, or the answer to an earlier attempt of this put was lost.
    Ok(staged(&store, &queue, &key).await?.unwrap_or(made))
}

async fn staged(store: &Store, queue: &str, key: &str) -> Result<Option<StagedChunk>> {
    let mut found = store.read_staged(queue, [key.to_owned()]).await?;
    Ok(found.pop().map(|(_, staged)| staged))
}

async fn extract(
    worker: &Worker,
    spec: &ExtractSpec,
    store: &Store,
    chunk: &Chunk,
) -> Result<StagedChunk> {
    let model = worker.model(spec, store).await?;
    let snapshot = store.snapshot().await?;
    let vectors = named_in(&snapshot, model.vectors.clone()).await?;
    let target = if chunk.is_revisit {
        Target::new
    } else {
        Target::of_new_images
    };
    let target = target(model.row.clone(), vectors, model.generator.token_width());
    let mut batch = target.batch();
    let mut running = Running::start(
        model.generator.clone(),
        store.photos(),
        chunk.images.clone(),
        model.images_at_once,
    );
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
    drop(mem::take(&mut batch.masks));
    Ok(StagedChunk {
        images: chunk.images.len() as u64,
        new,
        planned,
        rows: snapshot.stage(changes).await?,
        failures,
        seconds: 0.0,
    })
}
