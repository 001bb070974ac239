//! Indexes of vectors in parts, each of which another process can make.
//!
//! ```text
//! one process:  partitions and codes, trained on a sample --a segment without rows--> _indices/
//! any process:  rows of some files, put into these partitions --a segment of them--> _indices/
//! one process:  segments --one segment--> a commit
//! ```
//!
//! What is trained and what is merged is Lance's: a part is one of its index segments. Segments that no commit names are removed when
//! the index is made; those of a process that died are in nobody's way, and `store cleanup` removes them a week later.

use std::collections::{BTreeMap, HashSet};

use futures::FutureExt;
use lance::dataset::Dataset;
use lance::index::DatasetIndexExt;
use lance::index::optimize::{
    IndexSegmentResult, OptimizeIndexMerge, OptimizeIndexTask, OptimizeIndicesPlan,
    commit_optimize_indices, plan_optimize_indices,
};
use lance::index::vector::builder::IvfIndexBuilder;
use lance::index::vector::{StageParams, VectorIndexParams};
use lance_index::optimize::OptimizeOptions;
use lance_index::vector::flat::index::{FlatIndex, FlatQuantizer};
use lance_index::vector::ivf::IvfBuildParams;
use lance_index::vector::pq::ProductQuantizer;
use lance_index::vector::quantizer::Quantization;
use lance_index::vector::sq::ScalarQuantizer;
use lance_index::vector::v3::shuffler::TwoFileShuffler;
use lance_table::format::{IndexFile, IndexMetadata};
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::request::{IndexRequest, too_few};
use super::{IndexStats, existing, index_name, index_of_column, indexes_in, until_no_race_is_lost};
use crate::progress::NoProgress;
use crate::schema::StoreTable;
use crate::store::sums::Checksum;
use crate::store::{Snapshot, Store};
use crate::{Error, Result};

/// Rows of a table that are to become a part of an index: all that another process needs to make it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct IndexPart {
    /// The store's version that has the rows.
    pub commit: u64,
    table: StoreTable,
    task: OptimizeIndexTask,
}

/// A part of an index that was made but is not yet committed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MadePart {
    /// `None` if there was nothing to do.
    result: Option<IndexSegmentResult>,
    /// Of its files, by their paths within the store.
    checksums: BTreeMap<String, Checksum>,
}

/// Whoever makes the parts of an index.
#[async_trait::async_trait]
pub(crate) trait MakeParts: Send + Sync {
    /// Makes parts, in any order.
    async fn make(&self, parts: &[IndexPart]) -> Result<Vec<MadePart>>;
}

impl IndexPart {
    /// What distinguishes the part from others of a plan.
    pub fn words(&self) -> Vec<String> {
        let mut words = vec![self.table.path(), self.task.reference.uuid.to_string()];
        words.extend(self.task.fragments.iter().map(u32::to_string));
        words
    }
}

impl Snapshot {
    /// Makes a part of an index, for a commit by this process or another.
    ///
    /// # Errors
    /// Errors from Lance and the file system.
    pub(crate) async fn make_part(&self, part: &IndexPart) -> Result<MadePart> {
        let dataset = self.stored(&part.table).await?;
        let result = part.task.execute(&dataset).await?;
        let checksums = match &result {
            Some(result) => {
                self.checksums_of_index(&part.table, &result.segment)
                    .await?
            }
            None => BTreeMap::new(),
        };
        Ok(MadePart { result, checksums })
    }
}

/// An index that is to be made, and what is left over when it is.
struct Planned {
    snapshot: Snapshot,
    plan: OptimizeIndicesPlan,
    /// What was trained for it alone.
    trained: Option<IndexMetadata>,
}

impl Store {
    /// Like [`Store::create_index`], with parts of at most so many rows that somebody else makes, for an index of vectors.
    ///
    /// # Errors
    /// As [`Store::create_index`], and those of whoever makes the parts.
    pub(crate) async fn create_index_with(
        &self,
        request: &IndexRequest,
        part_rows: u64,
        making: &dyn MakeParts,
    ) -> Result<IndexStats> {
        let column = request.kind.column(&request.table)?;
        let create = || {
            async move {
                let planned = self.plan_create(request, column, part_rows).await?;
                let committed = self
                    .make_in_parts("create index", &request.table, planned, making)
                    .await?;
                index_of_column(committed, &request.table, column).await
            }
            .boxed()
        };
        until_no_race_is_lost("create index", create).await
    }

    /// Like [`Store::update_indexes`], with parts that somebody else makes.
    ///
    /// # Errors
    /// As [`Store::update_indexes`], and those of whoever makes the parts.
    pub(crate) async fn update_indexes_with(
        &self,
        table: &StoreTable,
        part_rows: u64,
        making: &dyn MakeParts,
    ) -> Result<Vec<IndexStats>> {
        let update = || self.try_update_with(table, part_rows, making).boxed();
        until_no_race_is_lost("update index", update).await
    }

    async fn try_update_with(
        &self,
        table: &StoreTable,
        part_rows: u64,
        making: &dyn MakeParts,
    ) -> Result<Option<Vec<IndexStats>>> {
        let snapshot = self.settled().await?;
        let found = indexes_in(&snapshot, table).await?;
        if found.iter().all(|index| index.unindexed_rows == 0) {
            return Ok(Some(found));
        }
        verify(&snapshot, table).await?;
        let options = OptimizeOptions::default().max_rows_per_task(Some(part_rows));
        let dataset = snapshot.stored(table).await?;
        let plan = plan_optimize_indices(&dataset, &options).await?;
        if plan.tasks.is_empty() {
            // Rows without a vector are all that is not in it.
            return Ok(Some(found));
        }
        let planned = Planned {
            snapshot,
            plan,
            trained: None,
        };
        match self
            .make_in_parts("update index", table, planned, making)
            .await?
        {
            Some(committed) => Ok(Some(indexes_in(&committed, table).await?)),
            None => Ok(None),
        }
    }

    /// Trains an index and cuts the table into parts.
    async fn plan_create(
        &self,
        request: &IndexRequest,
        column: &'static str,
        part_rows: u64,
    ) -> Result<Planned> {
        let table = &request.table;
        // Restoring a table afterwards would take the index back.
        let snapshot = self.settled().await?;
        existing(&snapshot, table)?;
        verify(&snapshot, table).await?;
        let mut dataset = snapshot.stored(table).await?.as_ref().clone();
        let vectors = dataset.count_rows(Some(format!("{column} IS NOT NULL")));
        let params = request
            .vector_params(&dataset, column, vectors.await? as u64)?
            .ok_or_else(|| too_few(request.kind, table))?;
        let name = index_name(column);
        let replaced = dataset.load_indices_by_name(&name).await?;
        let columns = [column];
        let untrained = dataset
            .create_index_builder(&columns, request.index_type(), &params)
            .name(name)
            .replace(true)
            .train(false)
            .execute_uncommitted()
            .await?;
        let to = dataset.indices_dir().join(untrained.uuid.to_string());
        let trained = IndexMetadata {
            files: Some(train(&dataset, column, params, to).await?),
            ..untrained
        };
        let (plan_id, read_version) = (trained.uuid, dataset.version_id());
        let task = |fragments| OptimizeIndexTask {
            plan_id,
            read_version,
            group: 0,
            fragments,
            reference: trained.clone(),
            old_segments: Vec::new(),
            num_indices_to_merge: Some(0),
            enable_partition_rebalancing: false,
            retrain: false,
        };
        let plan = OptimizeIndicesPlan {
            plan_id,
            read_version,
            tasks: files_of_parts(&dataset, part_rows)
                .into_iter()
                .map(task)
                .collect(),
            merges: vec![OptimizeIndexMerge {
                plan_id,
                read_version,
                group: 0,
                old_segments: Vec::new(),
                replaces: replaced.iter().map(|index| index.uuid).collect(),
            }],
        };
        Ok(Planned {
            snapshot,
            plan,
            trained: Some(trained),
        })
    }

    /// Has an index made, and commits it; `None` if another writer interfered.
    async fn make_in_parts(
        &self,
        operation: &str,
        table: &StoreTable,
        planned: Planned,
        making: &dyn MakeParts,
    ) -> Result<Option<Snapshot>> {
        let Planned {
            snapshot,
            plan,
            trained,
        } = planned;
        let dataset = snapshot.stored(table).await?;
        let parts: Vec<IndexPart> = plan
            .tasks
            .into_iter()
            .map(|task| IndexPart {
                commit: snapshot.version(),
                table: table.clone(),
                task,
            })
            .collect();
        let made = making.make(&parts).await;
        let mut leftover: Vec<IndexMetadata> = trained.into_iter().collect();
        let committed = match made {
            Ok(made) => {
                let made_segments = made.iter().filter_map(|part| part.result.as_ref());
                leftover.extend(made_segments.map(|result| result.segment.clone()));
                self.commit_parts(operation, table, &dataset, &plan.merges, made)
                    .await
            }
            Err(err) => Err(err),
        };
        let kept = match &committed {
            Ok(Some(committed)) => committed.stored(table).await?.load_indices().await?,
            _ => Default::default(),
        };
        let kept: HashSet<_> = kept.iter().map(|index| index.uuid).collect();
        let objects = dataset.object_store(None).await?;
        for index in leftover.iter().filter(|index| !kept.contains(&index.uuid)) {
            let folder = dataset.indices_dir().join(index.uuid.to_string());
            if let Err(err) = objects.remove_dir_all(folder).await {
                tracing::warn!("a part of an index was not removed: {err}");
            }
        }
        committed
    }

    /// Merges parts and commits the result; `None` if another writer interfered.
    async fn commit_parts(
        &self,
        operation: &str,
        table: &StoreTable,
        dataset: &Dataset,
        merges: &[OptimizeIndexMerge],
        made: Vec<MadePart>,
    ) -> Result<Option<Snapshot>> {
        let mut results = Vec::new();
        for MadePart { result, checksums } in made {
            self.inner.files.know_checksums(&checksums);
            results.extend(result);
        }
        let mut merged = Vec::new();
        for merge in merges {
            merged.extend(merge.execute(dataset, &results).await?);
        }
        let _guard = self.inner.lock.acquire().await?;
        let Some(mut changing) = self.changing(table).await? else {
            return Ok(None);
        };
        let options = OptimizeOptions::default();
        commit_optimize_indices(&mut changing.dataset, merged, &options).await?;
        self.put_changed(operation, table, changing).await
    }
}

/// That the table's files are as they were written: otherwise vectors that had changed on disk would be in an index that is valid.
async fn verify(snapshot: &Snapshot, table: &StoreTable) -> Result<()> {
    snapshot
        .verify(std::slice::from_ref(table), &NoProgress)
        .await
}

/// The files of a table in parts of at most `part_rows` rows, unless one file has more.
fn files_of_parts(dataset: &Dataset, part_rows: u64) -> Vec<Vec<u32>> {
    let (mut parts, mut rows): (Vec<Vec<u32>>, u64) = (Vec::new(), 0);
    for fragment in dataset.get_fragments() {
        let id = u32::try_from(fragment.id()).unwrap_or(u32::MAX);
        let more = fragment.metadata().num_rows().unwrap_or(0) as u64;
        match parts.last_mut() {
            Some(part) if rows + more <= part_rows => {
                part.push(id);
                rows += more;
            }
            _ => {
                parts.push(vec![id]);
                rows = more;
            }
        }
    }
    parts
}

/// Trains the partitions and codes of an index on a sample of a table's vectors, and writes them without any rows.
async fn train(
    dataset: &Dataset,
    column: &str,
    params: VectorIndexParams,
    to: Path,
) -> Result<Vec<IndexFile>> {
    let mut stages = params.stages.iter();
    let (Some(StageParams::Ivf(partitions)), codes) = (stages.next(), stages.next()) else {
        return Err(UNEXPECTED);
    };
    let of = Training {
        dataset,
        column,
        params: &params,
        partitions,
        to,
    };
    match codes {
        None => of.train::<FlatQuantizer>(()).await,
        Some(StageParams::PQ(codes)) => of.train::<ProductQuantizer>(codes.clone()).await,
        Some(StageParams::SQ(codes)) => of.train::<ScalarQuantizer>(codes.clone()).await,
        Some(_) => Err(UNEXPECTED),
    }
}

const UNEXPECTED: Error = Error::Internal {
    what: "an index of vectors has stages that are not its own",
};

struct Training<'a> {
    dataset: &'a Dataset,
    column: &'a str,
    params: &'a VectorIndexParams,
    partitions: &'a IvfBuildParams,
    to: Path,
}

impl Training<'_> {
    async fn train<Q: Quantization + 'static>(
        self,
        codes: Q::BuildParams,
    ) -> Result<Vec<IndexFile>> {
        // No row goes into it.
        let shuffler = TwoFileShuffler::new(Path::default(), 0);
        let mut builder = IvfIndexBuilder::<FlatIndex, Q>::new(
            self.dataset.clone(),
            self.column.to_owned(),
            self.to,
            self.params.metric_type,
            Box::new(shuffler),
            Some(self.partitions.clone()),
            Some(codes),
            (),
            None,
        )?;
        let built = builder.with_train_only(true).build().await?;
        Ok(built.files)
    }
}
