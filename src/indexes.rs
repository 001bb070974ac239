//! Indexes by workers: one process trains an index of vectors, many put the table's rows into it, and the first merges and
//! commits what they made.
//!
//! A task is some files of the table. Its result waits under `staging/` for the process that asked for it, and for no other. A run
//! that is interrupted changes nothing, and the next begins anew.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::ids::ImageId;
use crate::jobs::{JobId, JobOptions, Made, OnWorkers, RunPlan, Task, Worker};
use crate::progress::Progress;
use crate::schema::StoreTable;
use crate::store::{IndexKind, IndexPart, IndexRequest, IndexStats, MadePart, MakeParts, Store};

/// What results are staged under.
const QUEUE: &str = "index";

/// Like [`Store::create_index`], with workers: this process trains the index, and they put the rows into it. An index of images is
/// made by this process alone.
///
/// # Errors
/// As [`Store::create_index`]; [`Error::Cluster`](crate::Error::Cluster) or [`Error::ClusterJob`](crate::Error::ClusterJob) if
/// tasks failed for good, or none is making progress.
pub async fn create_index_with_workers(
    store: &Store,
    request: &IndexRequest,
    workers: &dyn RunPlan,
    options: &JobOptions,
    progress: &dyn Progress,
) -> Result<IndexStats> {
    if request.kind == IndexKind::Bloom {
        return store.create_index(request).await;
    }
    let making = OnWorkers::new(store, workers, options, progress);
    store
        .create_index_with(request, options.part_rows, &making)
        .await
}

/// Like [`Store::update_indexes`], with workers.
///
/// # Errors
/// As [`Store::update_indexes`]; [`Error::Cluster`](crate::Error::Cluster) or [`Error::ClusterJob`](crate::Error::ClusterJob) if
/// tasks failed for good, or none is making progress.
pub async fn update_indexes_with_workers(
    store: &Store,
    table: &StoreTable,
    workers: &dyn RunPlan,
    options: &JobOptions,
    progress: &dyn Progress,
) -> Result<Vec<IndexStats>> {
    let making = OnWorkers::new(store, workers, options, progress);
    store
        .update_indexes_with(table, options.part_rows, &making)
        .await
}

/// Makes a part of an index.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct IndexTask {
    job: JobId,
}

#[async_trait::async_trait]
impl Task for IndexTask {
    const NODE: &'static str = "IndexExec";
    type Chunk = IndexPart;
    type Counts = MadePart;

    fn job(&self) -> &JobId {
        &self.job
    }

    fn images<'a>(&self, _: &'a IndexPart) -> Vec<&'a ImageId> {
        Vec::new()
    }

    fn words(&self, part: &IndexPart) -> Vec<String> {
        [vec![self.job.job.clone()], part.words()].concat()
    }

    async fn make(&self, _: &Worker, store: &Store, part: IndexPart) -> Result<Made<MadePart>> {
        let snapshot = store.snapshot_at(part.commit).await?;
        let counts = snapshot.make_part(&part).await?;
        Ok(Made::counted(snapshot, counts))
    }

    async fn discard(
        &self,
        store: &Store,
        made: &MadePart,
        other: Option<&MadePart>,
    ) -> Result<()> {
        if other.is_some_and(|other| other.has_files_of(made)) {
            return Ok(());
        }
        store.remove_part(made).await
    }
}

#[async_trait::async_trait]
impl MakeParts for OnWorkers<'_> {
    async fn make(&self, parts: &[IndexPart]) -> Result<Vec<MadePart>> {
        let task = IndexTask {
            job: JobId::new(self.store, QUEUE.to_owned()),
        };
        self.results(&task, parts, "parts of the index").await
    }
}
