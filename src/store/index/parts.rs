//! Indexes of vectors in parts, each of which another process can make.
//!
//! ```text
//! one process:  partitions and codes, trained on a sample --a segment without rows--> _indices/
//! any process:  rows of some files, put into these partitions --a segment of them--> _indices/
//! one process:  segments --one segment--> a commit
//! ```
//!
//! What is trained and what is merged is Lance's: a part is one of its index segments. Segments that no commit names are removed when
//! the index is made, or cannot be; those of a process that died are in nobody's way, and `store cleanup` removes them a week later.

use std::collections::{BTreeMap, HashSet};

use arrow::datatypes::Schema;
use futures::{FutureExt, TryStreamExt};
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
use lance_index::vector::ivf::builder::recommended_num_partitions;
use lance_index::vector::pq::ProductQuantizer;
use lance_index::vector::quantizer::Quantization;
use lance_index::vector::sq::ScalarQuantizer;
use lance_index::vector::v3::shuffler::TwoFileShuffler;
use lance_table::format::{IndexFile, IndexMetadata};
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::request::{IndexRequest, too_few};
use super::{
    IndexStats, existing, index_name, index_of_column, indexes_in, until_no_race_is_lost, verify,
};
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
    table: StoreTable,
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
        Ok(MadePart {
            table: part.table.clone(),
            result,
            checksums,
        })
    }
}

impl MadePart {
    /// Whether a part is the same, with the same files.
    pub fn has_files_of(&self, other: &Self) -> bool {
        let segment = |part: &Self| part.result.as_ref().map(|result| result.segment.uuid);
        segment(self) == segment(other)
    }
}

/// An index that is to be made of a snapshot.
struct Planned {
    snapshot: Snapshot,
    plan: OptimizeIndicesPlan,
}

impl Store {
    /// Like [`Store::create_index`], with parts of at most `part_rows` rows that somebody else makes, for an index of vectors.
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
            self.try_create_with(request, column, part_rows, making)
                .boxed()
        };
        until_no_race_is_lost("create index", create).await
    }

    async fn try_create_with(
        &self,
        request: &IndexRequest,
        column: &'static str,
        part_rows: u64,
        making: &dyn MakeParts,
    ) -> Result<Option<IndexStats>> {
        let planned = self.plan_create(request, column, part_rows).await?;
        let committed = self
            .make_in_parts("create index", &request.table, planned, making)
            .await?;
        index_of_column(committed, &request.table, column).await
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
        let planned = Planned { snapshot, plan };
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
        let mut dataset = snapshot.stored(table).await?.as_ref().clone();
        let rows = dataset.count_rows(None).await? as u64;
        let mut params = request
            .vector_params(&dataset, column, rows)?
            .ok_or_else(|| too_few(request.kind, table))?;
        verify(&snapshot, table).await?;
        limit_partitions(&dataset, column, request, &mut params).await?;
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
        Ok(Planned { snapshot, plan })
    }

    /// Has an index made, and commits it; `None` if another writer interfered.
    async fn make_in_parts(
        &self,
        operation: &str,
        table: &StoreTable,
        planned: Planned,
        making: &dyn MakeParts,
    ) -> Result<Option<Snapshot>> {
        let Planned { snapshot, plan } = planned;
        let dataset = snapshot.stored(table).await?;
        // What a rebuild trained is a segment, too.
        let mut segments: Vec<IndexMetadata> =
            plan.tasks.iter().map(|it| it.reference.clone()).collect();
        let parts = plan.tasks.into_iter().map(|task| IndexPart {
            commit: snapshot.version(),
            table: table.clone(),
            task,
        });
        let parts: Vec<IndexPart> = parts.collect();
        let committed = match making.make(&parts).await {
            Ok(made) => {
                let results = made.iter().filter_map(|part| part.result.as_ref());
                segments.extend(results.map(|result| result.segment.clone()));
                self.commit_parts(
                    operation,
                    table,
                    &dataset,
                    &plan.merges,
                    made,
                    &mut segments,
                )
                .await
            }
            Err(err) => Err(err),
        };
        let made = committed.as_ref().ok().and_then(Option::as_ref);
        let mut having = vec![&snapshot];
        having.extend(made);
        if let Err(err) = self.remove_segments(having, table, &segments).await {
            tracing::warn!("parts of an index were not removed: {err}");
        }
        committed
    }

    /// Removes those of some segments that neither some snapshots nor the newest version have: also after an error, a commit may
    /// have been made.
    async fn remove_segments(
        &self,
        mut having: Vec<&Snapshot>,
        table: &StoreTable,
        segments: &[IndexMetadata],
    ) -> Result<()> {
        let head = self.snapshot().await?;
        having.push(&head);
        let mut kept = HashSet::new();
        for snapshot in having {
            if snapshot.has_table(table) {
                let indexes = snapshot.stored(table).await?.load_indices().await?;
                kept.extend(indexes.iter().map(|index| index.uuid));
            }
        }
        if !head.has_table(table) {
            return Ok(());
        }
        let dataset = head.stored(table).await?;
        for segment in segments {
            if kept.insert(segment.uuid) {
                remove_segment(&dataset, segment).await?;
            }
        }
        Ok(())
    }

    /// Removes the files of a part that nobody is going to commit.
    ///
    /// # Errors
    /// Errors of the store.
    pub(crate) async fn remove_part(&self, part: &MadePart) -> Result<()> {
        let head = self.snapshot().await?;
        match &part.result {
            Some(result) if head.has_table(&part.table) => {
                remove_segment(head.stored(&part.table).await?.as_ref(), &result.segment).await
            }
            _ => Ok(()),
        }
    }

    /// Merges parts and commits the result; `None` if another writer interfered. Adds what it made to `segments`.
    async fn commit_parts(
        &self,
        operation: &str,
        table: &StoreTable,
        dataset: &Dataset,
        merges: &[OptimizeIndexMerge],
        made: Vec<MadePart>,
        segments: &mut Vec<IndexMetadata>,
    ) -> Result<Option<Snapshot>> {
        let mut results = Vec::new();
        for part in made {
            self.inner.files.know_checksums(&part.checksums);
            results.extend(part.result);
        }
        let mut merged = Vec::new();
        for merge in merges {
            merged.extend(merge.execute(dataset, &results).await?);
        }
        segments.extend(merged.iter().map(|result| result.segment.clone()));
        let _guard = self.inner.lock.acquire().await?;
        let Some(mut changing) = self.changing(table).await? else {
            return Ok(None);
        };
        let options = OptimizeOptions::default();
        commit_optimize_indices(&mut changing.dataset, merged, &options).await?;
        self.put_changed(operation, table, changing).await
    }
}

async fn remove_segment(dataset: &Dataset, segment: &IndexMetadata) -> Result<()> {
    let folder = dataset.indices_dir().join(segment.uuid.to_string());
    let objects = dataset.object_store(None).await?;
    match objects.remove_dir_all(folder).await {
        Ok(()) | Err(lance::Error::NotFound { .. }) => Ok(()),
        Err(err) => Err(err.into()),
    }
}

/// Sets the number of partitions to what a table's vectors suffice for, as Lance does where one process makes an index: it learns each
/// partition of quantised vectors from a sample of a fixed size.
///
/// # Errors
/// [`Error::InvalidOption`] for too few vectors.
async fn limit_partitions(
    dataset: &Dataset,
    column: &str,
    request: &IndexRequest,
    params: &mut VectorIndexParams,
) -> Result<()> {
    let is_quantised = params.stages.len() > 1;
    let Some(StageParams::Ivf(ivf)) = params.stages.first_mut() else {
        return Err(UNEXPECTED);
    };
    let each = if is_quantised { ivf.sample_rate } else { 1 };
    let wanted = ivf.num_partitions.unwrap_or(1);
    let enough = wanted.saturating_mul(each).max(request.kind.min_vectors());
    let vectors = vectors_up_to(dataset, column, enough).await?;
    if vectors < request.kind.min_vectors() {
        return Err(too_few(request.kind, &request.table));
    }
    if vectors < enough {
        let supported = if is_quantised {
            recommended_num_partitions(vectors, each)
        } else {
            vectors
        };
        ivf.num_partitions = Some(wanted.min(supported));
    }
    Ok(())
}

/// Counts a table's vectors, and stops at a number.
async fn vectors_up_to(dataset: &Dataset, column: &str, enough: usize) -> Result<usize> {
    let schema = Schema::from(dataset.schema());
    if !schema.field_with_name(column)?.is_nullable() {
        return Ok(dataset.count_rows(None).await?);
    }
    let mut scan = dataset.scan();
    scan.filter(&format!("{column} IS NOT NULL"))?
        .project(&[] as &[&str])?
        .with_row_id()
        .limit(Some(i64::try_from(enough).unwrap_or(i64::MAX)), None)?;
    let batches = scan.try_into_stream().await?;
    let rows = batches.try_fold(0, |sum, batch| async move { Ok(sum + batch.num_rows()) });
    Ok(rows.await?)
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
