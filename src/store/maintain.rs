//! Upkeep of a store: tags, compaction, clean-up and sizes.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::try_join_all;
use lance::dataset::Dataset;
use lance::dataset::cleanup::CleanupPolicyBuilder;
use lance::dataset::index::DatasetIndexRemapperOptions;
use lance::dataset::optimize::{
    CompactionOptions, CompactionTask, RewriteResult, commit_compaction, plan_compaction,
};
use lance::dataset::statistics::DatasetStatisticsExt;
use lance::dataset::transaction::Operation;
use serde::{Deserialize, Serialize};

use super::commit::{back_off, unless_race_lost};
use super::index::{IndexKind, IndexRequest, IndexStats, image_column, indexes_of};
use super::sums::Checksum;
use super::{Snapshot, Store, Tag};
use crate::ids::check_name;
use crate::progress::NoProgress;
use crate::schema::StoreTable;
use crate::{Error, Result};

/// Commits younger than this never expire in stores without a lock, where nothing shows who is still writing.
const MIN_AGE_WITHOUT_LOCK: TimeDelta = TimeDelta::hours(1);

/// What a compaction did to one table.
#[derive(Debug, Clone, Serialize)]
pub struct CompactStats {
    /// The table's name; for vectors, with the embedder's id.
    pub table: String,
    /// Data files that were merged.
    pub files_before: usize,
    /// Data files after the merge.
    pub files_after: usize,
}

/// What a clean-up removed.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct CleanupStats {
    /// Number of commits that expired.
    pub commits: u64,
    /// Number of Lance versions of tables.
    pub table_versions: u64,
    /// Bytes freed.
    pub bytes: u64,
}

/// Size of one table.
#[derive(Debug, Clone, Serialize)]
pub struct TableStats {
    /// The table's name; for vectors, with the embedder's id.
    pub table: String,
    /// Its Lance version in the snapshot.
    pub version: u64,
    /// Number of rows.
    pub rows: u64,
    /// Number of data files.
    pub files: usize,
    /// Compressed size of the rows on disk in bytes, over all columns.
    pub bytes: u64,
}

impl Store {
    /// Gives the snapshot's version a name. The version does not expire until the tag is deleted.
    ///
    /// Each table's Lance dataset gets the same tag, so that other readers of Lance see it.
    ///
    /// # Examples
    /// ```
    /// # use grainstore::store::{Store, StoreOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let place = dir.path().to_str().unwrap();
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let store = Store::open_or_create(place, StoreOptions::default()).await?;
    /// let tag = store.create_tag("paper", &store.snapshot().await?).await?;
    /// assert_eq!(store.version_of_tag("paper").await?, tag.version);
    ///
    /// // However much is added later:
    /// let as_published = store.snapshot_at(tag.version).await?;
    /// assert_eq!(as_published.version(), tag.version);
    /// # Ok::<(), grainstore::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::TagExists`], or errors from Lance.
    pub async fn create_tag(&self, tag: &str, snapshot: &Snapshot) -> Result<Tag> {
        check_name("tag", tag)?;
        let _guard = self.inner.lock.acquire().await?;
        if let Some(found) = self.inner.files.read_tag(tag).await? {
            return Err(Error::TagExists {
                tag: found.tag,
                version: found.version,
            });
        }
        let tagging = snapshot.stored_tables().map(|table| async move {
            let dataset = snapshot.stored(&table).await?;
            let tags = dataset.tags();
            // If the store has no such tag, a Lance tag of that name was left by a creation that died.
            match tags.create(tag, dataset.version_id()).await {
                Err(lance::Error::RefConflict { .. }) => {
                    tags.update(tag, dataset.version_id()).await?;
                }
                created => created?,
            }
            Ok::<_, Error>(())
        });
        try_join_all(tagging).await?;
        let created = Tag {
            tag: tag.to_owned(),
            version: snapshot.version(),
            created_at: Utc::now(),
        };
        if self.inner.files.put_tag(&created).await? {
            return Ok(created);
        }
        Err(Error::TagExists {
            tag: tag.to_owned(),
            version: self.version_of_tag(tag).await?,
        })
    }

    /// Deletes a tag; the version that it named can then expire.
    ///
    /// # Errors
    /// [`Error::NoSuchTag`], or errors from Lance.
    pub async fn delete_tag(&self, tag: &str) -> Result<()> {
        let _guard = self.inner.lock.acquire().await?;
        check_name("tag", tag)?;
        if !self.inner.files.has_tag(tag).await? {
            return Err(Error::NoSuchTag {
                tag: tag.to_owned(),
            });
        }
        let mut snapshots = vec![self.snapshot().await?];
        // Tables of embedders that were removed since; the tag itself may be damaged.
        if let Ok(version) = self.version_of_tag(tag).await {
            snapshots.extend(self.snapshot_at(version).await.ok());
        }
        for snapshot in &snapshots {
            let deleting = snapshot.stored_tables().map(|table| async move {
                match snapshot.stored(&table).await?.tags().delete(tag).await {
                    Err(lance::Error::RefNotFound { .. }) => Ok(()),
                    deleted => Ok::<_, Error>(deleted?),
                }
            });
            try_join_all(deleting).await?;
        }
        // This comes last, so that an interrupted deletion can be repeated. A damaged tag is deleted, too.
        self.inner.files.delete_tag(tag).await
    }

    /// Every tag, ordered by name.
    ///
    /// # Errors
    /// [`Error::StoreDamaged`], or errors from the file system.
    pub async fn tags(&self) -> Result<Vec<Tag>> {
        self.inner.files.tags().await
    }

    /// The version that a tag names.
    ///
    /// # Errors
    /// [`Error::NoSuchTag`].
    pub async fn version_of_tag(&self, tag: &str) -> Result<u64> {
        check_name("tag", tag)?;
        match self.inner.files.read_tag(tag).await? {
            Some(found) => Ok(found.version),
            None => Err(Error::NoSuchTag {
                tag: tag.to_owned(),
            }),
        }
    }

    /// Merges small data files, in one commit. Rows and their order stay the same.
    ///
    /// Files are rewritten while others can write; only the switch to the new files waits for the lock.
    ///
    /// # Examples
    /// ```
    /// # use grainstore::ids::ImageId;
    /// # use grainstore::store::rows::{LabelRow, Row};
    /// # use grainstore::store::{Changes, Store, StoreOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let place = dir.path().to_str().unwrap();
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let store = Store::open_or_create(place, StoreOptions::default()).await?;
    /// # for label in ["cat", "dog"] {
    /// #     let commit = store.commit("label", |head| async move {
    /// #         let row = LabelRow {
    /// #             image_id: ImageId::of_bytes(b"the bytes of a photo"),
    /// #             dataset: "pets".to_owned(),
    /// #             label: label.to_owned(),
    /// #             origin: "csv".to_owned(),
    /// #             ingested_at: head.now(),
    /// #         };
    /// #         let mut changes = Changes::new();
    /// #         changes.append(LabelRow::TABLE, LabelRow::to_batch(&[row])?);
    /// #         Ok(changes)
    /// #     });
    /// #     commit.await?;
    /// # }
    /// // Two commits have added labels, each in a file of its own.
    /// let compacted = store.compact().await?;
    /// assert_eq!(compacted.len(), 1);
    /// assert_eq!(compacted[0].table, "labels");
    /// assert_eq!((compacted[0].files_before, compacted[0].files_after), (2, 1));
    /// # Ok::<(), grainstore::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::CommitContention`] if other writers changed the same files each time; [`Error::StoreDamaged`] for files
    /// that are not as they were written; errors from Lance.
    pub async fn compact(&self) -> Result<Vec<CompactStats>> {
        self.compact_with(&OneAfterAnother).await
    }

    /// Like [`Store::compact`], with files that somebody else merges.
    ///
    /// # Errors
    /// As [`Store::compact`], and those of whoever merges.
    pub(crate) async fn compact_with(&self, merging: &dyn MergeFiles) -> Result<Vec<CompactStats>> {
        const ATTEMPTS: u32 = 5;
        for attempt in 0..ATTEMPTS {
            // Restoring a table afterwards would make the merged files unusable.
            let snapshot = self.settled().await?;
            let mut merges = Vec::new();
            for table in snapshot.stored_tables() {
                merges.extend(merges_of(&snapshot, table).await?);
            }
            if merges.is_empty() {
                return Ok(Vec::new());
            }
            let merged = merging.merge(&snapshot, &merges).await?;
            if let Some(stats) = unless_race_lost(self.switch(merged).await)?.flatten() {
                self.remake_indexes(&snapshot).await?;
                return Ok(stats);
            }
            back_off(attempt).await;
        }
        Err(Error::CommitContention {
            operation: "compact".to_owned(),
            attempts: ATTEMPTS,
        })
    }

    /// Makes the indexes of images anew that a compaction of a snapshot has emptied: unlike those of vectors, Lance cannot
    /// change them to the new files.
    async fn remake_indexes(&self, compacted: &Snapshot) -> Result<()> {
        for table in compacted.stored_tables() {
            let Some(before) = index_of_images(compacted, &table).await? else {
                continue;
            };
            let after = index_of_images(&self.snapshot().await?, &table).await?;
            if after.is_some_and(|after| after.unindexed_rows > before.unindexed_rows) {
                let request = IndexRequest {
                    kind: IndexKind::Bloom,
                    ..IndexRequest::new(table)
                };
                self.create_index(&request).await?;
            }
        }
        Ok(())
    }

    /// The newest snapshot, after reverting what a writer that died has left.
    pub(super) async fn settled(&self) -> Result<Snapshot> {
        let guard = self.inner.lock.acquire().await?;
        let settled = self.settle().await?;
        drop(guard);
        match settled {
            Some(settled) => Ok(settled),
            None => self.snapshot().await,
        }
    }

    /// Like [`Store::settled`], for a caller that holds the lock; `None` if another writer interfered.
    async fn settle(&self) -> Result<Option<Snapshot>> {
        let head = self.snapshot().await?;
        if !head.is_current_format() {
            return Box::pin(self.raise(&head)).await;
        }
        let restored = self.recover(&head, head.stored_tables()).await?;
        if restored.is_empty() {
            return Ok(Some(head));
        }
        let record = head.record().next("recover");
        self.put(Some(&head), record, restored).await
    }

    /// Commits merged files; `None` if another writer interfered.
    async fn switch(&self, merged: Vec<Merged>) -> Result<Option<Vec<CompactStats>>> {
        let _guard = self.inner.lock.acquire().await?;
        let head = self.snapshot().await?;
        let mut tables = self.recover(&head, head.stored_tables()).await?;
        let mut results: BTreeMap<StoreTable, Vec<RewriteResult>> = BTreeMap::new();
        for Merged {
            table,
            result,
            checksums,
        } in merged
        {
            self.inner.files.know_checksums(&checksums);
            results.entry(table).or_default().push(result);
        }
        let mut stats = Vec::new();
        for (table, results) in results {
            // An embedder may have been removed meanwhile.
            if !head.is_stored(&table) {
                return Ok(None);
            }
            let mut dataset = match tables.remove(&table) {
                Some(restored) => restored,
                None => head.dataset(table.clone()).await?.as_ref().clone(),
            };
            let before = dataset.version_id();
            let metrics = commit_compaction(
                &mut dataset,
                results,
                Arc::new(DatasetIndexRemapperOptions::default()),
                &CompactionOptions::default(),
            )
            .await?;
            if !is_one_rewrite(&dataset, before).await? {
                return Ok(None);
            }
            stats.push(CompactStats {
                table: table.path(),
                files_before: metrics.fragments_removed,
                files_after: metrics.fragments_added,
            });
            tables.insert(table, dataset);
        }
        let record = head.record().next("compact");
        let committed = self.put(Some(&head), record, tables).await?;
        Ok(committed.map(|_| stats))
    }

    /// Expires commits older than `older_than`, and vacuums every file that only they need.
    ///
    /// The newest commit and tagged commits stay, whatever their age.
    ///
    /// # Examples
    /// ```
    /// use chrono::TimeDelta;
    /// # use grainstore::store::{Store, StoreOptions};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let place = dir.path().to_str().unwrap();
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let store = Store::open_or_create(place, StoreOptions::default()).await?;
    /// let removed = store.cleanup(TimeDelta::days(14)).await?;
    /// assert_eq!(removed.commits, 0); // the only commit is the newest
    /// # Ok::<(), grainstore::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Any error from Lance or the file system.
    pub async fn cleanup(&self, older_than: TimeDelta) -> Result<CleanupStats> {
        let _guard = self.inner.lock.acquire().await?;
        let age = match self.inner.files.local_path() {
            Some(_) => older_than,
            None => older_than.max(MIN_AGE_WITHOUT_LOCK),
        };
        let Some(head) = self.settle().await? else {
            return Ok(CleanupStats::default());
        };
        let tagged = self.tags().await?.iter().map(|tag| tag.version).collect();
        let plan = plan_cleanup(self.log().await?, &tagged, Utc::now() - age);
        let mut stats = CleanupStats::default();
        for version in &plan.remove {
            self.inner.files.delete_commit(*version).await?;
            stats.commits += 1;
        }
        for table in head.stored_tables() {
            let dataset = head.stored(&table).await?;
            let keep = plan.keep.get(&table.path());
            let versions = dataset
                .version_refs()
                .await?
                .into_iter()
                .map(|found| found.version);
            let old: Vec<u64> = versions
                .filter(|version| *version < dataset.version_id())
                .filter(|version| keep.is_none_or(|keep| !keep.contains(version)))
                .collect();
            if old.is_empty() {
                continue;
            }
            let policy = CleanupPolicyBuilder::default()
                .versions(old)?
                .error_if_tagged_old_versions(false)
                .build();
            let removed = dataset.cleanup_with_policy(policy).await?;
            stats.table_versions += removed.old_versions;
            stats.bytes += removed.bytes_removed;
        }
        let files = &self.inner.files;
        for (table, objects) in files.vector_tables().await? {
            let young = Utc::now() - MIN_AGE_WITHOUT_LOCK;
            let is_young = objects.iter().any(|object| object.last_modified >= young);
            let may_be_written = files.local_path().is_none() && is_young;
            if !plan.keep.contains_key(&table.path()) && !may_be_written {
                stats.bytes += files.remove_table(&table, Some(&objects)).await?;
            }
        }
        let left = self.log().await?.into_iter();
        let named = left.flat_map(|record| record.checksums).collect();
        files
            .remove_checksums_but(&named, Utc::now() - MIN_AGE_WITHOUT_LOCK)
            .await?;
        self.remove_stale_staging().await?;
        Ok(stats)
    }
}

impl Snapshot {
    /// Rows, files and bytes of every table.
    ///
    /// # Errors
    /// Any error from Lance.
    pub async fn stats(&self) -> Result<Vec<TableStats>> {
        let mut stats = Vec::new();
        for table in self.stored_tables() {
            let dataset = self.stored(&table).await?;
            let fields = dataset.calculate_data_stats().await?.fields;
            stats.push(TableStats {
                table: table.path(),
                version: dataset.version_id(),
                rows: dataset.count_rows(None).await? as u64,
                files: dataset.count_fragments(),
                bytes: fields.iter().map(|field| field.bytes_on_disk).sum(),
            });
        }
        Ok(stats)
    }
}

/// Small files of a table that are to become larger ones: all that another process needs to merge them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Merge {
    /// The store's version that has the files.
    pub commit: u64,
    table: StoreTable,
    task: CompactionTask,
}

/// Files that were merged but are not yet committed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Merged {
    table: StoreTable,
    result: RewriteResult,
    /// Of the new files, by their paths within the store.
    checksums: BTreeMap<String, Checksum>,
}

/// Whoever merges the files of a compaction.
#[async_trait::async_trait]
pub(crate) trait MergeFiles: Send + Sync {
    /// Merges files of a snapshot, in any order, and returns the results in that of `merges`, so that rows keep theirs.
    async fn merge(&self, snapshot: &Snapshot, merges: &[Merge]) -> Result<Vec<Merged>>;
}

/// Merges files in this process.
struct OneAfterAnother;

#[async_trait::async_trait]
impl MergeFiles for OneAfterAnother {
    async fn merge(&self, snapshot: &Snapshot, merges: &[Merge]) -> Result<Vec<Merged>> {
        let mut merged = Vec::new();
        for merge in merges {
            merged.push(snapshot.merge(merge).await?);
        }
        Ok(merged)
    }
}

impl Merge {
    /// What tells the files from those of the other merges of a plan.
    pub fn files(&self) -> Vec<String> {
        let mut names = vec![self.table.path()];
        for fragment in &self.task.task.fragments {
            names.extend(fragment.files.iter().map(|file| file.path.clone()));
        }
        names
    }
}

impl Snapshot {
    /// Merges files, for a commit by this process or another.
    ///
    /// # Errors
    /// Errors from Lance and the file system.
    pub(crate) async fn merge(&self, merge: &Merge) -> Result<Merged> {
        let table = merge.table.clone();
        let result = merge.task.execute(&*self.stored(&table).await?).await?;
        Ok(Merged {
            checksums: self.checksums_of(&table, &result.new_fragments).await?,
            table,
            result,
        })
    }
}

/// Whether a single compaction, and no other writer, brought the table from version `before` to this one.
///
/// Lance commits a compaction in two versions: one reserves ids for the new files.
async fn is_one_rewrite(dataset: &Dataset, before: u64) -> Result<bool> {
    let mut rewrites = 0;
    for version in before + 1..=dataset.version_id() {
        let transaction = dataset.read_transaction_by_version(version).await?;
        match transaction.map(|transaction| transaction.operation) {
            Some(Operation::ReserveFragments { .. }) => {}
            Some(Operation::Rewrite { .. }) => rewrites += 1,
            _ => return Ok(false),
        }
    }
    Ok(rewrites == 1)
}

/// The index of a table's images, if there are both.
async fn index_of_images(snapshot: &Snapshot, table: &StoreTable) -> Result<Option<IndexStats>> {
    let Some(column) = image_column(table).filter(|_| snapshot.has_table(table)) else {
        return Ok(None);
    };
    let mut indexes = indexes_of(snapshot.stored(table).await?.as_ref(), "").await?;
    indexes.retain(|index| index.column == column);
    Ok(indexes.pop())
}

/// The small files of a table, by what they are merged to.
async fn merges_of(snapshot: &Snapshot, table: StoreTable) -> Result<Vec<Merge>> {
    let dataset = snapshot.stored(&table).await?;
    let plan = plan_compaction(&dataset, &CompactionOptions::default()).await?;
    let merges: Vec<Merge> = plan
        .compaction_tasks()
        .map(|task| Merge {
            commit: snapshot.version(),
            table: table.clone(),
            task,
        })
        .collect();
    if !merges.is_empty() {
        // Otherwise bytes that had changed on disk would get a new, valid checksum.
        snapshot
            .verify(std::slice::from_ref(&table), &NoProgress)
            .await?;
    }
    Ok(merges)
}

#[derive(Debug, PartialEq, Eq)]
struct CleanupPlan {
    /// Commits that expire.
    remove: Vec<u64>,
    /// Lance versions that the remaining commits name, by table.
    keep: BTreeMap<String, BTreeSet<u64>>,
}

/// Decides which commits expire: those before `cutoff` that are neither the newest nor tagged.
fn plan_cleanup(
    log: Vec<super::CommitRecord>,
    tagged: &HashSet<u64>,
    cutoff: DateTime<Utc>,
) -> CleanupPlan {
    let newest = log.iter().map(|record| record.version).max();
    let mut plan = CleanupPlan {
        remove: Vec::new(),
        keep: BTreeMap::new(),
    };
    for record in log {
        let pinned = Some(record.version) == newest || tagged.contains(&record.version);
        if !pinned && record.committed_at < cutoff {
            plan.remove.push(record.version);
            continue;
        }
        for (table, version) in record.tables {
            plan.keep.entry(table).or_default().insert(version);
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::CommitRecord;

    fn record(version: u64, minute: i64, images: u64) -> CommitRecord {
        let mut record = CommitRecord::first();
        record.version = version;
        record.committed_at = DateTime::UNIX_EPOCH + TimeDelta::minutes(minute);
        record.tables.insert("images".to_owned(), images);
        record
    }

    #[test]
    fn cleanup_keeps_the_newest_the_young_and_the_tagged() {
        let log = vec![
            record(1, 0, 1),
            record(2, 1, 2),
            record(3, 2, 3),
            record(4, 3, 3),
        ];
        let cutoff = |minute| DateTime::UNIX_EPOCH + TimeDelta::minutes(minute);
        let none = HashSet::new();

        let all_old = plan_cleanup(log.clone(), &none, cutoff(100));
        assert_eq!(all_old.remove, [1, 2, 3]);
        assert_eq!(all_old.keep["images"], BTreeSet::from([3]));

        let tagged = plan_cleanup(log.clone(), &HashSet::from([2]), cutoff(100));
        assert_eq!(tagged.remove, [1, 3]);
        assert_eq!(tagged.keep["images"], BTreeSet::from([2, 3]));

        let young = plan_cleanup(log, &none, cutoff(1));
        assert_eq!(young.remove, [1]);
        assert_eq!(plan_cleanup(Vec::new(), &none, cutoff(1)).remove, [0u64; 0]);
    }
}
