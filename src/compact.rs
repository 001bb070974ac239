//! Compaction by workers: many processes merge a store's small files, and one commits what they made.
//!
//! A task is a group of files that become one file or a few, as Lance plans it. Its result waits under `staging/` for the process
//! that asked for it, and for no other: Lance removes merged files whose commit fails, so two processes must never share a result.
//! A compaction that is interrupted changes nothing, and the next begins anew.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::ids::ImageId;
use crate::jobs::{JobId, JobOptions, Made, OnWorkers, RunPlan, Task, Worker};
use crate::progress::Progress;
use crate::store::{CompactStats, Merge, MergeFiles, Merged, Snapshot, Store};

/// What results are staged under.
const QUEUE: &str = "compact";

/// Like [`Store::compact`], with workers: they merge the files, and this process commits them.
///
/// # Errors
/// As [`Store::compact`]; [`Error::Cluster`](crate::Error::Cluster) or [`Error::ClusterJob`](crate::Error::ClusterJob) if tasks
/// failed for good, or none is making progress.
pub async fn compact_with_workers(
    store: &Store,
    workers: &dyn RunPlan,
    options: &JobOptions,
    progress: &dyn Progress,
) -> Result<Vec<CompactStats>> {
    let merging = OnWorkers::new(store, workers, options, progress);
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
        Ok(Made::counted(snapshot, counts))
    }
}

#[async_trait::async_trait]
impl MergeFiles for OnWorkers<'_> {
    async fn merge(&self, _: &Snapshot, merges: &[Merge]) -> Result<Vec<Merged>> {
        let task = CompactTask {
            job: JobId::new(self.store, QUEUE.to_owned()),
        };
        self.results(&task, merges, "merges").await
    }
}
