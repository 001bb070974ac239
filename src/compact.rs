//! Compaction by workers: many processes merge a store's small files, and one commits what they made.
//!
//! A task is a group of files that become one file or a few, as Lance plans it. Its result is staged under the names of the files
//! that it read, so a task that runs twice counts once, and a driver that was killed finds what its executors had done.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use chrono::Utc;
use serde::{Deserialize, Serialize};

use crate::ids::ImageId;
use crate::jobs::{JobId, JobOptions, Made, RunPlan, Staged, Task, TaskExec, Worker};
use crate::progress::Progress;
use crate::store::{
    Changes, CompactStats, Merge, MergeFiles, Merged, STAGED_KEPT, Snapshot, Store,
};
use crate::{Error, Result};

/// What merged files are staged under.
const QUEUE: &str = "compact";
/// Passes in a row of which no task came back, after which a compaction is given up.
const MAX_STUCK: u32 = 2;

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
    let stats = store.compact_with(&merging).await?;
    merging.remove_but(&BTreeSet::new()).await?;
    Ok(stats)
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
        merge.files()
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
        let keys: BTreeSet<String> = merges.iter().map(|merge| task.key(merge)).collect();
        // Results of an earlier state of the store, which nobody will commit.
        self.remove_but(&keys).await?;
        self.progress.start("merges", Some(merges.len() as u64));
        let merged = self.merged(&task, merges, &keys).await;
        self.store.remove_tasks(&task.job.job).await?;
        self.progress.finish();
        merged
    }
}

impl OnWorkers<'_> {
    /// Has files merged until all are, and returns the results.
    async fn merged(
        &self,
        task: &CompactTask,
        merges: &[Merge],
        keys: &BTreeSet<String>,
    ) -> Result<Vec<Merged>> {
        let (mut done, mut next, mut stuck) = (HashSet::new(), 0, 0);
        loop {
            let before = done.len();
            self.look(keys, &mut done).await?;
            let left: Vec<&Merge> = merges
                .iter()
                .filter(|merge| !done.contains(&task.key(merge)))
                .collect();
            if left.is_empty() {
                let staged = self.store.read_staged(QUEUE, keys.iter().cloned()).await?;
                let found: Vec<(String, Staged<Merged>)> = staged;
                if found.len() == keys.len() {
                    return Ok(found.into_iter().map(|(_, made)| made.counts).collect());
                }
                // Another compaction has removed some.
                done.clear();
                continue;
            }
            let ended = self.pass(task, &left, keys, &mut done, &mut next).await;
            self.look(keys, &mut done).await?;
            // A pass that failed is followed by another as long as the job gets on.
            stuck = if done.len() > before { 0 } else { stuck + 1 };
            if stuck == MAX_STUCK {
                return Err(ended.err().unwrap_or_else(|| Error::Cluster {
                    reason: format!("{} merges were handed out, and not done", left.len()),
                }));
            }
        }
    }

    /// Hands merges out, wave after wave.
    async fn pass(
        &self,
        task: &CompactTask,
        left: &[&Merge],
        keys: &BTreeSet<String>,
        done: &mut HashSet<String>,
        next: &mut u32,
    ) -> Result<()> {
        for wave in left.chunks(self.options.wave.max(1) as usize) {
            let (first, count) = (*next, wave.len() as u32);
            *next += count;
            self.store.put_tasks(&task.job.job, first, wave).await?;
            let plan = Arc::new(TaskExec::new(task.clone(), first, count));
            let mut running = self.workers.run(plan);
            loop {
                tokio::select! {
                    ended = &mut running => {
                        ended?;
                        break;
                    }
                    () = tokio::time::sleep(self.options.poll) => {
                        if let Err(err) = self.look(keys, done).await {
                            // The next pass would run beside it.
                            self.workers.cancel().await?;
                            return Err(err);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds what has been staged, and says how much it is.
    async fn look(&self, keys: &BTreeSet<String>, done: &mut HashSet<String>) -> Result<()> {
        let before = done.len();
        let staged = self.store.staged(QUEUE).await?.into_iter();
        done.extend(staged.map(|it| it.key).filter(|key| keys.contains(key)));
        self.progress.advance((done.len() - before) as u64);
        Ok(())
    }

    /// Removes results but those of `keys`, and those whose files may be gone.
    async fn remove_but(&self, keys: &BTreeSet<String>) -> Result<()> {
        let oldest = Utc::now() - STAGED_KEPT;
        let staged = self.store.staged(QUEUE).await?.into_iter();
        let removed = staged
            .filter(|it| !keys.contains(&it.key) || it.staged_at < oldest)
            .map(|it| it.key);
        self.store.remove_staged(QUEUE, removed).await
    }
}
