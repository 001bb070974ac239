//! Compaction by workers: many processes merge a store's small files, and one commits what they made.
//!
//! A task is a group of files that become one file or a few, as Lance plans it. Its result waits under `staging/` for the process
//! that asked for it, and for no other: Lance removes merged files whose commit fails, so two processes must never share a result.
//! A compaction that is interrupted changes nothing, and the next begins anew.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::ImageId;
use crate::jobs::{JobId, JobOptions, Made, RunPlan, Staged, Task, TaskExec, Worker};
use crate::progress::Progress;
use crate::store::{Changes, CompactStats, Merge, MergeFiles, Merged, Snapshot, Store};
use crate::{Error, Result};

/// What results are staged under.
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
        self.progress.start("merges", Some(merges.len() as u64));
        let merged = self.merged(&task, merges).await;
        self.progress.finish();
        if let Err(err) = self.remove(&task, merges).await {
            tracing::warn!("what the workers were asked was not removed: {err}");
        }
        merged
    }
}

impl OnWorkers<'_> {
    /// Has files merged until all are, and returns the results in the order of `merges`: rows keep theirs.
    async fn merged(&self, task: &CompactTask, merges: &[Merge]) -> Result<Vec<Merged>> {
        let keys: Vec<String> = merges.iter().map(|merge| task.key(merge)).collect();
        let mut state = State {
            left: keys.iter().cloned().zip(merges).collect(),
            next_task: 0,
        };
        let mut stuck = 0;
        while !state.left.is_empty() {
            let before = state.left.len();
            let ended = self.pass(task, &mut state).await;
            self.look(&mut state).await?;
            // A pass that failed is followed by another as long as the job gets on.
            let is_stuck = state.left.len() == before;
            stuck = if is_stuck { stuck + 1 } else { 0 };
            if stuck == MAX_STUCK {
                let left = state.left.len();
                return Err(ended.err().unwrap_or_else(|| Error::Cluster {
                    reason: format!("{left} merges were handed out, and not done"),
                }));
            }
        }
        let staged = self.store.read_staged(QUEUE, keys).await?;
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

    /// Hands out what is left, wave after wave.
    async fn pass(&self, task: &CompactTask, state: &mut State<'_>) -> Result<()> {
        let left: Vec<&Merge> = state.left.values().copied().collect();
        for wave in left.chunks(self.options.wave.max(1) as usize) {
            let (first, count) = (state.next_task, wave.len() as u32);
            state.next_task += count;
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
                        if let Err(err) = self.look(state).await {
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

    /// Takes off what has been staged.
    async fn look(&self, state: &mut State<'_>) -> Result<()> {
        let staged = self.store.staged(QUEUE).await?.into_iter();
        let done = staged.filter(|it| state.left.remove(&it.key).is_some());
        self.progress.advance(done.count() as u64);
        Ok(())
    }

    /// Removes tasks and results.
    async fn remove(&self, task: &CompactTask, merges: &[Merge]) -> Result<()> {
        self.store.remove_tasks(&task.job.job).await?;
        let keys: Vec<String> = merges.iter().map(|merge| task.key(merge)).collect();
        self.store.remove_staged(QUEUE, keys).await
    }
}

/// How far a compaction is.
struct State<'a> {
    /// Merges without a result, by its name.
    left: HashMap<String, &'a Merge>,
    /// Number of the next task, which no other has.
    next_task: u32,
}
