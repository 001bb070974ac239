//! Writing to a store: one commit changes several tables, all or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::logical_expr::Expr;
use futures::future::{FutureExt, try_join_all};
use lance::dataset::{Dataset, WriteMode};
use tokio::task::JoinSet;

use super::checksums::files_of;
use super::fragments::WrittenRows;
use super::{CommitRecord, Snapshot, Store};
use crate::ids::EmbedderId;
use crate::schema::{StoreTable, VectorTable};
use crate::{Error, Result};

/// Maximum number of times that a commit is tried, if other writers win each time.
const MAX_ATTEMPTS: u32 = 20;

/// Rows of a table that take at least this many bytes in memory are written before the lock is taken.
const LARGE: usize = 16 << 10;

/// Rows to delete and to append, by table, and tables of vectors to create and to drop.
#[derive(Debug, Default)]
pub struct Changes {
    creates: BTreeMap<StoreTable, SchemaRef>,
    drops: BTreeSet<StoreTable>,
    deletes: BTreeMap<StoreTable, Expr>,
    appends: BTreeMap<StoreTable, Vec<RecordBatch>>,
    /// Rows in files, which are appended before those in memory.
    written: BTreeMap<StoreTable, Vec<WrittenRows>>,
}

impl Changes {
    /// No changes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a batch to a table; an empty batch is no change.
    pub fn append(&mut self, table: impl Into<StoreTable>, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.appends.entry(table.into()).or_default().push(batch);
        }
    }

    /// Deletes the rows of a table for which a condition holds, before any rows are appended to it.
    pub fn delete(&mut self, table: impl Into<StoreTable>, condition: Expr) {
        let table = table.into();
        let condition = match self.deletes.remove(&table) {
            Some(other) => other.or(condition),
            None => condition,
        };
        self.deletes.insert(table, condition);
    }

    /// Creates the table of an embedder's vectors, with `dim` numbers each, before any rows are appended to it.
    ///
    /// # Errors
    /// [`Error::Schema`] unless `dim` is 1 to 2^31 - 1.
    pub fn create_vectors(
        &mut self,
        table: VectorTable,
        embedder_id: &EmbedderId,
        dim: u32,
    ) -> Result<()> {
        let schema = table.schema_of(embedder_id, dim)?;
        let table = StoreTable::Vectors(table, embedder_id.clone());
        self.creates.insert(table, schema);
        Ok(())
    }

    /// Drops the table of an embedder's vectors; its files stay as long as an earlier version of the store names them.
    pub fn drop_vectors(&mut self, table: VectorTable, embedder_id: &EmbedderId) {
        let table = StoreTable::Vectors(table, embedder_id.clone());
        self.drops.insert(table);
    }

    /// The tables that stay and change.
    fn tables(&self) -> impl Iterator<Item = &StoreTable> {
        let changed = self.creates.keys();
        let changed = changed
            .chain(self.deletes.keys())
            .chain(self.appends.keys())
            .chain(self.written.keys());
        changed.filter(|table| !self.drops.contains(table))
    }

    /// The rows to append by table, of changes that do nothing else.
    ///
    /// # Errors
    /// [`Error::Internal`] for other changes.
    pub(super) fn into_appends(self) -> Result<BTreeMap<StoreTable, Vec<RecordBatch>>> {
        let Self {
            creates,
            drops,
            deletes,
            appends,
            written,
        } = self;
        let appends_only =
            creates.is_empty() && drops.is_empty() && deletes.is_empty() && written.is_empty();
        if appends_only {
            Ok(appends)
        } else {
            Err(Error::Internal {
                what: "only rows that are appended can be staged",
            })
        }
    }

    /// Appends rows that are in files already.
    pub(crate) fn append_written(&mut self, table: impl Into<StoreTable>, rows: WrittenRows) {
        if rows.rows > 0 {
            self.written.entry(table.into()).or_default().push(rows);
        }
    }

    /// Puts files in the place of the rows that they hold.
    fn exchange(&mut self, ahead: &Ahead) {
        for (table, (batches, written)) in ahead {
            if self.appends.get(table) == Some(batches) {
                self.appends.remove(table);
                self.append_written(table.clone(), written.clone());
            }
        }
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.appends.is_empty()
            && self.written.is_empty()
            && self.deletes.is_empty()
            && self.creates.is_empty()
            && self.drops.is_empty()
    }
}

/// The rows of a plan that were written ahead, by table, beside their files.
type Ahead = BTreeMap<StoreTable, (Vec<RecordBatch>, WrittenRows)>;

/// The result of a commit.
#[derive(Debug)]
pub struct Commit {
    /// The store after the commit.
    pub snapshot: Snapshot,
    /// False if there was nothing to write, so that there is no new version.
    pub changed: bool,
}

impl Store {
    /// Writes the changes that `plan` returns, in one commit.
    ///
    /// `plan` gets the newest snapshot and returns the changes to it. It is the place to drop rows that the snapshot
    /// already holds. It is called again with a newer snapshot if another writer was quicker, so it must not consume what it
    /// captures. Then no other process on this machine can commit to the store while it runs, so keep slow work out of it.
    ///
    /// Large changes are written to files before the store's lock is taken, and once, however often `plan` is called, as long
    /// as it returns the same rows.
    ///
    /// # Examples
    /// ```
    /// use grainstore::ids::ImageId;
    /// use grainstore::schema::Table;
    /// use grainstore::store::Changes;
    /// use grainstore::store::rows::{LabelRow, Row};
    /// # use grainstore::store::{Store, StoreOptions};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let place = dir.path().to_str().unwrap();
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let store = Store::open_or_create(place, StoreOptions::default()).await?;
    /// let commit = store
    ///     .commit("label", |head| async move {
    ///         let row = LabelRow {
    ///             image_id: ImageId::of_bytes(b"the bytes of a photo"),
    ///             dataset: "pets".to_owned(),
    ///             label: "cat".to_owned(),
    ///             origin: "csv".to_owned(),
    ///             ingested_at: head.now(),
    ///         };
    ///         let mut changes = Changes::new();
    ///         changes.append(LabelRow::TABLE, LabelRow::to_batch(&[row])?);
    ///         Ok(changes)
    ///     })
    ///     .await?;
    /// assert!(commit.changed);
    /// assert_eq!(commit.snapshot.version(), 2);
    /// assert_eq!(commit.snapshot.count(Table::Labels).await?, 1);
    /// # Ok::<(), grainstore::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The error that `plan` returns, [`Error::ColumnMismatch`] for rows that do not fit their table,
    /// [`Error::CommitContention`] after 20 lost races, [`Error::StoreGone`], or errors from Lance and the file system.
    /// In all these cases, readers see none of the changes.
    pub async fn commit<F, Planned>(&self, operation: &str, mut plan: F) -> Result<Commit>
    where
        F: FnMut(Snapshot) -> Planned,
        Planned: Future<Output = Result<Changes>>,
    {
        let mut changes = |snapshot| {
            let planned = plan(snapshot);
            async move { Ok((planned.await?, ())) }
        };
        Ok(self.commit_with(operation, &mut changes).await?.0)
    }

    /// Like [`Store::commit`], but `plan` also returns a value. The value of the attempt that was committed is
    /// returned.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn commit_with<F, Planned, Told>(
        &self,
        operation: &str,
        plan: F,
    ) -> Result<(Commit, Told)>
    where
        F: FnMut(Snapshot) -> Planned,
        Planned: Future<Output = Result<(Changes, Told)>>,
    {
        let done = self.try_commit(operation, plan).await;
        if done.is_err() && matches!(self.inner.files.read_header().await, Ok(None)) {
            // A removed store is the cause, whichever file was missed first.
            return Err(Error::StoreGone {
                uri: self.uri().to_owned(),
            });
        }
        done
    }

    async fn try_commit<F, Planned, Told>(
        &self,
        operation: &str,
        mut plan: F,
    ) -> Result<(Commit, Told)>
    where
        F: FnMut(Snapshot) -> Planned,
        Planned: Future<Output = Result<(Changes, Told)>>,
    {
        let (mut planned, mut ahead) = (None, Ahead::new());
        self.inner.files.probe().await?;
        let snapshot = self.snapshot().await?;
        if snapshot.is_current_format() {
            let (changes, told) = plan(snapshot.clone()).await?;
            if changes.is_empty() {
                let changed = false;
                return Ok((Commit { snapshot, changed }, told));
            }
            ahead = self.write_ahead(&snapshot, &changes).boxed().await?;
            planned = Some((snapshot, changes, told));
        }
        for attempt in 0..MAX_ATTEMPTS {
            let guard = self.inner.lock.acquire().await?;
            let is_locked = self.directory().is_some();
            // Without a lock, another writer can come first at any time, so there is no use in looking again.
            let snapshot = match planned.as_ref().filter(|_| !is_locked) {
                Some((snapshot, _, _)) => snapshot.clone(),
                None => self.snapshot().await?,
            };
            let raised = if snapshot.is_current_format() {
                Some(snapshot)
            } else {
                unless_race_lost(Box::pin(self.raise(&snapshot)).await)?.flatten()
            };
            let Some(snapshot) = raised else {
                drop(guard);
                back_off(attempt).await;
                continue;
            };
            let is_newest = |planned: &(Snapshot, _, _)| planned.0.version() == snapshot.version();
            let (mut changes, told) = match planned.take().filter(is_newest) {
                Some((_, changes, told)) => (changes, told),
                None => plan(snapshot.clone()).await?,
            };
            if changes.is_empty() {
                let changed = false;
                return Ok((Commit { snapshot, changed }, told));
            }
            changes.exchange(&ahead);
            let looks = is_locked || attempt > 0;
            let applied = self.apply(&snapshot, operation, &changes, looks);
            let applied = applied.boxed().await;
            if let Some(snapshot) = unless_race_lost(applied)?.flatten() {
                let changed = true;
                return Ok((Commit { snapshot, changed }, told));
            }
            drop(guard);
            back_off(attempt).await;
        }
        Err(Error::CommitContention {
            operation: operation.to_owned(),
            attempts: MAX_ATTEMPTS,
        })
    }

    /// Writes the large changes to tables that are there to files.
    async fn write_ahead(&self, head: &Snapshot, changes: &Changes) -> Result<Ahead> {
        let appends = changes.appends.iter();
        let large = appends
            .filter(|(table, batches)| head.is_stored(table) && is_large(batches))
            .map(|(table, batches)| async move {
                let written = head.write_rows(table, batches.clone()).await?;
                Ok::<_, Error>((table.clone(), (batches.clone(), written)))
            });
        let written = try_join_all(large.collect::<Vec<_>>()).await?;
        Ok(written.into_iter().collect())
    }

    /// Deletes and appends the rows and puts the record; `None` if another writer interfered. With `looks`, what dead writers
    /// left is looked for first; without, it is found by the version that a change makes, and counts as another writer.
    async fn apply(
        &self,
        head: &Snapshot,
        operation: &str,
        changes: &Changes,
        looks: bool,
    ) -> Result<Option<Snapshot>> {
        for (table, batches) in &changes.appends {
            let declared = match (table, changes.creates.get(table)) {
                (StoreTable::Fixed(fixed), _) => self.schema(*fixed),
                (_, Some(schema)) => schema.clone(),
                (_, None) => {
                    let dataset = head.dataset(table.clone()).await?;
                    Arc::new(Schema::from(dataset.schema()))
                }
            };
            for batch in batches {
                check_columns(table, &declared, batch)?;
            }
        }
        for written in changes.written.values().flatten() {
            self.inner.files.know_checksums(&written.checksums);
        }
        let mut record = head.record().next(operation);
        let changed: BTreeSet<StoreTable> = changes.tables().cloned().collect();
        // In a bucket every table is a request; there, a table is reverted by whoever changes it next.
        let is_reverted =
            |table: &StoreTable| looks && (self.directory().is_some() || changed.contains(table));
        let reverted = head.stored_tables().filter(is_reverted);
        let mut tables = self.recover(head, reverted).await?;
        let changing: Vec<_> = changed
            .into_iter()
            .map(|table| (tables.remove(&table), table))
            .map(|(restored, table)| async move {
                let changed = self.change(head, &table, restored, changes).await?;
                Ok::<_, Error>((table, changed))
            })
            .collect();
        for (table, changed) in try_join_all(changing).await? {
            let Some(changed) = changed else {
                return Ok(None);
            };
            if let Some(rows) = changed.deleted {
                record.deleted.insert(table.path(), rows);
            }
            if let Some(rows) = changed.appended {
                record.rows.insert(table.path(), rows);
            }
            tables.insert(table, changed.dataset);
        }
        for table in &changes.drops {
            record.tables.remove(&table.path());
            tables.remove(table);
        }
        self.put(Some(head), record, tables).await
    }

    /// Creates a table, deletes its rows and appends others, as `changes` says; `None` if another writer interfered.
    async fn change(
        &self,
        head: &Snapshot,
        table: &StoreTable,
        restored: Option<Dataset>,
        changes: &Changes,
    ) -> Result<Option<Changed>> {
        let mut dataset = match (changes.creates.get(table), restored) {
            (Some(schema), _) => Arc::new(self.create_vectors(table, schema).await?),
            (None, Some(restored)) => Arc::new(restored),
            (None, None) => head.stored(table).await?,
        };
        let (mut deleted, mut appended) = (None, None);
        if let Some(condition) = changes.deletes.get(table) {
            let mut changed = dataset.as_ref().clone();
            let expected = changed.version_id() + 1;
            let rows = changed.delete(&sql_of(condition)?).await?;
            if changed.version_id() > expected {
                return Ok(None);
            }
            deleted = Some(rows.num_deleted_rows);
            dataset = Arc::new(changed);
        }
        let mut fragments = Vec::new();
        for rows in changes.written.get(table).into_iter().flatten() {
            fragments.extend(rows.fragments.iter().cloned());
            appended = Some(appended.unwrap_or(0) + rows.rows);
        }
        if let Some(batches) = changes.appends.get(table) {
            let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
            fragments.extend(self.write_fragments(&dataset, batches.clone()).await?);
            appended = Some(appended.unwrap_or(0) + rows as u64);
        }
        if !fragments.is_empty() {
            let Some(changed) = self.append_fragments(dataset, fragments).await? else {
                return Ok(None);
            };
            dataset = Arc::new(changed);
        }
        Ok(Some(Changed {
            dataset: dataset.as_ref().clone(),
            deleted,
            appended,
        }))
    }

    /// Creates the table of an embedder, in place of what an interrupted commit may have left.
    async fn create_vectors(&self, table: &StoreTable, schema: &SchemaRef) -> Result<Dataset> {
        let create = async || {
            let (store, table, schema) = (self.clone(), table.clone(), schema.clone());
            let mode = WriteMode::Overwrite;
            // Some damaged manifests make Lance panic; in a task of its own, the panic becomes an error.
            // It ends with this commit, if that is given up.
            let mut task = JoinSet::new();
            task.spawn(async move { store.create_table(&table, schema, mode).await });
            match task.join_next().await {
                Some(Ok(created)) => Ok(created?),
                Some(Err(_)) | None => Err(Error::StoreDamaged {
                    path: "a table of vectors".to_owned(),
                    reason: "its manifest cannot be read".to_owned(),
                }),
            }
        };
        let created = create().await;
        let files = &self.inner.files;
        let is_race = matches!(
            created,
            Err(Error::Lance(lance::Error::DatasetAlreadyExists { .. }))
        );
        if created.is_ok() || is_race || files.local_path().is_none() {
            return created;
        }
        // After a power cut, the version that no record names may be a file without content.
        let path = table.path();
        let log = self.log().await?;
        if log.iter().any(|record| record.tables.contains_key(&path)) {
            return created;
        }
        files.remove_table(table, None).await?;
        create().await
    }

    /// Writes the checksums of the new files, and then a commit record that names the new table versions; `None` if
    /// another writer put that record first.
    pub(super) async fn put(
        &self,
        head: Option<&Snapshot>,
        mut record: CommitRecord,
        tables: BTreeMap<StoreTable, Dataset>,
    ) -> Result<Option<Snapshot>> {
        let mut added = BTreeSet::new();
        for (table, changed) in &tables {
            let before = match head {
                Some(head) if head.is_stored(table) => {
                    files_of(table, head.stored(table).await?.as_ref()).await?
                }
                _ => BTreeSet::new(),
            };
            let after = files_of(table, changed).await?;
            added.extend(after.difference(&before).cloned());
            record.tables.insert(table.path(), changed.version_id());
        }
        let files = &self.inner.files;
        let after = Snapshot::with_tables(self.clone(), record.clone(), tables.clone());
        files.put_checksums(&mut record, added, &after).await?;
        if !files.put_commit(&record).await? {
            return Ok(None);
        }
        tracing::debug!(
            version = record.version,
            operation = record.operation,
            "committed"
        );
        for (table, dataset) in &tables {
            self.keep_open(table, &Arc::new(dataset.clone()));
        }
        Ok(Some(Snapshot::with_tables(self.clone(), record, tables)))
    }

    /// Reverts in the given tables what a writer left that died before it put its record.
    ///
    /// Returns the tables that had to be restored, at their new versions.
    pub(super) async fn recover(
        &self,
        head: &Snapshot,
        tables: impl Iterator<Item = StoreTable>,
    ) -> Result<BTreeMap<StoreTable, Dataset>> {
        let recovering = tables.map(|table| async move {
            let restored = self.recover_table(head, &table).await?;
            Ok::<_, Error>(restored.map(|restored| (table, restored)))
        });
        let restored = try_join_all(recovering).await?;
        Ok(restored.into_iter().flatten().collect())
    }

    /// Reverts in one table what a writer left that died before it put its record; returns the table at its new version, if
    /// there was something to revert.
    async fn recover_table(&self, head: &Snapshot, table: &StoreTable) -> Result<Option<Dataset>> {
        let dataset = head.stored(table).await?;
        if dataset.latest_version_id().await? == dataset.version_id() {
            return Ok(None);
        }
        tracing::warn!(
            table = table.path(),
            version = dataset.version_id(),
            "taking back rows of a commit that was never finished"
        );
        let mut dataset = dataset.as_ref().clone();
        if let Err(err) = dataset.restore().await {
            // After a power cut the version that no record names may be a file without content.
            let files = &self.inner.files;
            let version = dataset.version_id();
            if !files.remove_versions_after(table, version).await? {
                return Err(err.into());
            }
            dataset = self.open_table(table, Some(version)).await?;
            dataset.restore().await?;
        }
        Ok(Some(dataset))
    }
}

/// Whether rows are better written to a file of their own than kept in memory or in a small object.
pub(super) fn is_large(batches: &[RecordBatch]) -> bool {
    let sizes = batches.iter().map(RecordBatch::get_array_memory_size);
    sizes.sum::<usize>() >= LARGE
}

impl Snapshot {
    /// Writes rows of a table to files, for a later commit.
    ///
    /// # Errors
    /// [`Error::ColumnMismatch`] for rows that do not fit their table; errors from Lance and the file system.
    pub(crate) async fn write_rows(
        &self,
        table: &StoreTable,
        batches: Vec<RecordBatch>,
    ) -> Result<WrittenRows> {
        let dataset = self.stored(table).await?;
        let declared = Arc::new(Schema::from(dataset.schema()));
        for batch in &batches {
            check_columns(table, &declared, batch)?;
        }
        let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        let fragments = self.store().write_fragments(&dataset, batches).await?;
        let checksums = self.checksums_of(table, &fragments).await?;
        Ok(WrittenRows {
            rows,
            fragments,
            checksums,
        })
    }
}

/// A table after a change, and how many rows that deleted and appended.
struct Changed {
    dataset: Dataset,
    deleted: Option<u64>,
    appended: Option<u64>,
}

/// Checks that a batch has exactly the columns of its table.
fn check_columns(table: &StoreTable, declared: &SchemaRef, batch: &RecordBatch) -> Result<()> {
    let found = batch.schema();
    let mismatch = |column: &str, expected: String, found: String| Error::ColumnMismatch {
        table: table.path(),
        column: column.to_owned(),
        expected,
        found,
    };
    for (position, field) in declared.fields().iter().enumerate() {
        let expected = field.data_type().to_string();
        let Some(column) = batch.column_by_name(field.name()) else {
            return Err(mismatch(field.name(), expected, "nothing".to_owned()));
        };
        if column.data_type() != field.data_type() {
            return Err(mismatch(
                field.name(),
                expected,
                column.data_type().to_string(),
            ));
        }
        if found.fields().find(field.name()).map(|(at, _)| at) != Some(position) {
            let place = |at: usize| format!("column {at}");
            return Err(mismatch(
                field.name(),
                place(position),
                "another place".to_owned(),
            ));
        }
        if !field.is_nullable() && column.null_count() > 0 {
            let nulls = format!("{} nulls", column.null_count());
            return Err(mismatch(field.name(), "no nulls".to_owned(), nulls));
        }
    }
    if declared.fields().len() != found.fields().len() {
        let count = |n: usize| format!("{n} columns");
        let (expected, found) = (declared.fields().len(), found.fields().len());
        return Err(mismatch("*", count(expected), count(found)));
    }
    Ok(())
}

/// A condition as SQL text, which Lance needs for deletes.
pub(super) fn sql_of(condition: &Expr) -> Result<String> {
    Ok(datafusion::sql::unparser::expr_to_sql(condition)?.to_string())
}

/// Returns `None` if Lance refused a change because another writer's came first.
pub(super) fn unless_race_lost<T>(done: Result<T>) -> Result<Option<T>> {
    match done {
        Err(Error::Lance(
            lance::Error::CommitConflict { .. }
            | lance::Error::DatasetAlreadyExists { .. }
            | lance::Error::RetryableCommitConflict { .. }
            | lance::Error::IncompatibleTransaction { .. },
        )) => Ok(None),
        done => done.map(Some),
    }
}

/// Waits briefly: longer with each attempt, and not as long as the other writer.
pub(super) async fn back_off(attempt: u32) {
    let spread =
        u64::from(std::process::id()) ^ u64::from(chrono::Utc::now().timestamp_subsec_nanos());
    let ceiling = 20u64 << attempt.min(6);
    tokio::time::sleep(Duration::from_millis(spread % ceiling + 1)).await;
}
