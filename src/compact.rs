//! Compaction by workers: many processes merge a store's small files, and one commits what they made.
//!
//! A task is a group of files that become one file or a few, as Lance plans it. Its result waits under `staging/` for the process
//! that asked for it, and for no other: Lance removes merged files whose commit fails, so two processes must never share a result.
//! A compaction that is interrupted changes nothing, and the next begins anew.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::ids::ImageId;
use crate::jobs::{JobId, JobOptions, Made, RunPlan, Staged, Task, Watch, Waves, Worker};
use crate::progress::Progress;
use crate::store::{Changes, CompactStats, Merge, MergeFiles, Merged, Snapshot, Store};
use crate::{Error, Result};

/// What results are staged under.
const QUEUE: &str = "compact";

/// Like [`Store::compact`], with workers: they merge the files, and this process commits them.
///
/// # Errors
/// As [`Store::compact`]; [`Error::Cluster`] or [`Error::ClusterJob`] if tasks failed for good, or none is making progress.
pub async fn compact_with_workers(
    store: &Store,
    workers: &dyn RunPlan,
    options: &JobOptions,
    progress: &dyn Progress,
) -> Result<Vec<CompactStats>> {
    let merging = OnWorkers {
        store,
        workers,
        options,
        progress,
    };
    store.compact_with(&merging).await
}

/// Merges the files of a chunk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CompactTask {
    job: JobId,
}

#[async_trait::async_trait]
impl Task for CompactTask {
    const NODE: &'static str = "CompactExec";
    type Chunk = Merge;
    type Counts = Merged;

    fn job(&self) -> &JobId {
        &self.job
    }

    fn images<'a>(&self, _: &'a Merge) -> Vec<&'a ImageId> {
        Vec::new()
    }

    fn words(&self, merge: &Merge) -> Vec<String> {
        [vec![self.job.job.clone()], merge.files()].concat()
    }

    async fn make(&self, _: &Worker, store: &Store, merge: Merge) -> Result<Made<Merged>> {
        let snapshot = store.snapshot_at(merge.commit).await?;
        let counts = snapshot.merge(&merge).await?;
        Ok(Made {
            snapshot,
            changes: Changes::new(),
            new: Vec::new(),
            failures: Vec::new(),
            counts,
        })
    }
}

struct OnWorkers<'a> {
    store: &'a Store,
    workers: &'a dyn RunPlan,
    options: &'a JobOptions,
    progress: &'a dyn Progress,
}

#[async_trait::async_trait]
impl MergeFiles for OnWorkers<'_> {
    async fn merge(&self, _: &Snapshot, merges: &[Merge]) -> Result<Vec<Merged>> {
        let task = CompactTask {
            job: JobId::new(self.store, QUEUE.to_owned()),
        };
        let keys: Vec<String> = merges.iter().map(|merge| task.key(merge)).collect();
        self.progress.start("merges", Some(merges.len() as u64));
        let merged = self.merged(&task, merges, &keys).await;
        self.progress.finish();
        if let Err(err) = self.remove(&task, keys).await {
            tracing::warn!("what the workers were asked was not removed: {err}");
        }
        merged
    }
}

impl OnWorkers<'_> {
    /// Has files merged until all are, and returns the results in the order of `merges`: rows keep theirs.
    async fn merged(
        &self,
        task: &CompactTask,
        merges: &[Merge],
        keys: &[String],
    ) -> Result<Vec<Merged>> {
        let mut waves = Waves::new(self.store, self.workers, self.options);
        let mut unmerged = Unmerged {
            store: self.store,
            left: keys.iter().cloned().zip(merges).collect(),
            progress: self.progress,
        };
        while !unmerged.left.is_empty() {
            let before = unmerged.left.len();
            let ended = pass(&mut waves, task, &mut unmerged).await;
            unmerged.look().await?;
            let left = unmerged.left.len();
            if waves.is_stuck(left < before) {
                return Err(ended.err().unwrap_or_else(|| Error::Cluster {
                    reason: format!("{left} merges were handed out, and not done"),
                }));
            }
        }
        let staged = self.store.read_staged(QUEUE, keys.to_vec()).await?;
        let merged = staged
            .into_iter()
            .map(|(_, made): (_, Staged<Merged>)| made.counts)
            .collect::<Vec<_>>();
        if merged.len() < merges.len() {
            return Err(Error::Cluster {
                reason: "what was merged has been removed meanwhile; start again".to_owned(),
            });
        }
        Ok(merged)
    }

    /// Removes tasks and results.
    async fn remove(&self, task: &CompactTask, keys: Vec<String>) -> Result<()> {
        self.store.remove_tasks(&task.job.job).await?;
        self.store.remove_staged(QUEUE, keys).await
    }
}

/// Hands out what is left.
async fn pass(
    waves: &mut Waves<'_>,
    task: &CompactTask,
    unmerged: &mut Unmerged<'_>,
) -> Result<()> {
    let left: Vec<&Merge> = unmerged.left.values().copied().collect();
    for wave in left.chunks(waves.size()) {
        waves.run(task, wave, unmerged).await?;
    }
    Ok(())
}

/// What is left to merge.
struct Unmerged<'a> {
    store: &'a Store,
    /// Merges without a result, by its name.
    left: HashMap<String, &'a Merge>,
    progress: &'a dyn Progress,
}

#[async_trait::async_trait]
impl Watch for Unmerged<'_> {
    /// Takes off what has been staged.
    async fn look(&mut self) -> Result<()> {
        let staged = self.store.staged(QUEUE).await?.into_iter();
        let done = staged.filter(|it| self.left.remove(&it.key).is_some());
        self.progress.advance(done.count() as u64);
        Ok(())
    }
}
