//! One task: a chunk of work is done, and what comes out is staged.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::worker::Worker;
use crate::ids::{ImageId, hex};
use crate::store::rows::FailureRow;
use crate::store::{Changes, Snapshot, StagedRows, Store};
use crate::{Error, Result};

/// Times that a task is tried, if what fails may pass: a bucket that does not answer, a disk that is full.
const ATTEMPTS: u32 = 4;

/// A job, and where it puts what it makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobId {
    /// The store.
    pub store: String,
    /// The job, whose tasks lie in the store.
    pub job: String,
    /// What its chunks are staged under: the same for every job that makes the same rows.
    pub queue: String,
}

impl JobId {
    /// A new job.
    pub(crate) fn new(store: &Store, queue: String) -> Self {
        Self {
            store: store.uri().to_owned(),
            job: format!("{:016x}", fastrand::u64(..)),
            queue,
        }
    }
}

/// What the tasks of a job do: all that a worker needs to know, besides its own device and its access to the store.
#[async_trait::async_trait]
pub(crate) trait Task:
    Debug + Clone + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The name of its node in plans.
    const NODE: &'static str;
    /// What one task is to do.
    type Chunk: Serialize + DeserializeOwned + Send + Sync;
    /// What is counted of a chunk.
    type Counts: Serialize + DeserializeOwned + Send + Sync;

    fn job(&self) -> &JobId;

    /// The images of a chunk.
    fn images<'a>(&self, chunk: &'a Self::Chunk) -> Vec<&'a ImageId>;

    /// What else of a chunk makes it another.
    fn words(&self, chunk: &Self::Chunk) -> Vec<String>;

    /// Does a chunk.
    async fn make(
        &self,
        worker: &Worker,
        store: &Store,
        chunk: Self::Chunk,
    ) -> Result<Made<Self::Counts>>;

    /// Checks that what tasks made may still be committed.
    async fn check(&self, _head: &Snapshot) -> Result<()> {
        Ok(())
    }

    /// Whether what a task made is still true of a snapshot.
    async fn is_current(&self, _head: &Snapshot, _counts: &Self::Counts) -> Result<bool> {
        Ok(true)
    }

    /// Removes what was made of a chunk in vain: somebody else was quicker, who staged `other`, or the job has failed.
    async fn discard(
        &self,
        _store: &Store,
        _made: &Self::Counts,
        _other: Option<&Self::Counts>,
    ) -> Result<()> {
        Ok(())
    }

    /// A name for what a chunk becomes.
    fn key(&self, chunk: &Self::Chunk) -> String {
        let mut hash = Sha256::new();
        for part in self.words(chunk) {
            hash.update(part);
            hash.update("\n");
        }
        for image in self.images(chunk) {
            hash.update(image.as_str());
        }
        hex(hash.finalize().get(..16).unwrap_or_default())
    }
}

/// What a task made, before it is staged.
pub(crate) struct Made<C> {
    pub snapshot: Snapshot,
    pub changes: Changes,
    /// Images of which rows are added, in the order of the sets of the job's committer.
    pub new: Vec<Vec<ImageId>>,
    pub failures: Vec<FailureRow>,
    pub counts: C,
}

impl<C> Made<C> {
    /// What a task made that adds no rows.
    pub fn counted(snapshot: Snapshot, counts: C) -> Self {
        Self {
            snapshot,
            changes: Changes::new(),
            new: Vec::new(),
            failures: Vec::new(),
            counts,
        }
    }
}

/// What a task staged.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "C: Serialize + DeserializeOwned")]
pub(crate) struct Staged<C> {
    /// Images that the task looked at, with or without success.
    pub images: u64,
    pub new: Vec<Vec<ImageId>>,
    pub rows: StagedRows,
    pub failures: Vec<FailureRow>,
    pub counts: C,
    pub seconds: f64,
}

/// What is told of a task.
#[derive(Debug, Clone, Copy)]
pub(super) struct Report {
    pub images: u64,
    pub failed: u64,
    pub seconds: f64,
}

/// Does a chunk and stages its rows, unless somebody has staged them. It is tried again if what fails may pass: the engine
/// itself ends a job with the first task that fails.
pub(super) async fn run<T: Task>(task: &T, worker: &Worker, number: u32) -> Result<Report> {
    let mut attempt = 1;
    loop {
        match try_run(task, worker, number).await {
            Err(err) if attempt < ATTEMPTS && may_pass(&err) => {
                tracing::warn!(chunk = number, attempt, "is tried again: {err}");
                tokio::time::sleep(Duration::from_secs(1 << attempt)).await;
                attempt += 1;
            }
            Err(err) => return Err(err),
            Ok(staged) => {
                return Ok(Report {
                    images: staged.images,
                    failed: staged.failures.len() as u64,
                    seconds: staged.seconds,
                });
            }
        }
    }
}

fn may_pass(err: &Error) -> bool {
    matches!(
        err,
        Error::Lance(_) | Error::Location { .. } | Error::File { .. }
    )
}

async fn try_run<T: Task>(task: &T, worker: &Worker, number: u32) -> Result<Staged<T::Counts>> {
    let _slot = worker.slot().await?;
    let started = Instant::now();
    let job = task.job();
    let store = worker.store(&job.store).await?;
    let chunk: T::Chunk = store.task(&job.job, number).await?;
    let (images, key) = (task.images(&chunk).len() as u64, task.key(&chunk));
    if let Some(staged) = read::<T>(&store, &job.queue, &key).await? {
        return Ok(staged);
    }
    let Made {
        snapshot,
        changes,
        new,
        failures,
        counts,
    } = task.make(worker, &store, chunk).await?;
    let made = Staged {
        images,
        new,
        rows: snapshot.stage(changes).await?,
        failures,
        counts,
        seconds: started.elapsed().as_secs_f64(),
    };
    if store.put_staged(&job.queue, &key, &made).await? {
        tracing::info!(chunk = number, images, seconds = made.seconds, "staged");
        return Ok(made);
    }
    // Somebody was quicker, or the answer to an earlier attempt of this put was lost.
    let Some(staged) = read::<T>(&store, &job.queue, &key).await? else {
        return Ok(made);
    };
    let other = Some(&staged.counts);
    if let Err(err) = task.discard(&store, &made.counts, other).await {
        tracing::warn!("what was made twice was not removed: {err}");
    }
    Ok(staged)
}

async fn read<T: Task>(store: &Store, queue: &str, key: &str) -> Result<Option<Staged<T::Counts>>> {
    let mut found = store.read_staged(queue, [key.to_owned()]).await?;
    Ok(found.pop().map(|(_, staged)| staged))
}
