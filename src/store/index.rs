//! Indexes of vectors and of images: made, brought up to date and dropped in commits of the store.
//!
//! Lance's index files never change once they are written, and a version of a table names those that it has. So an
//! index comes with a new version of its table, and a commit record names that version as any other; earlier snapshots
//! go on without the index. Rows that are added later are not in it until it is brought up to date; until then, they
//! are read one by one.

mod parts;
mod request;
mod stats;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use lance::dataset::transaction::{Operation, TransactionBuilder};
use lance::dataset::{CommitBuilder, Dataset};
use lance::index::DatasetIndexExt;

pub(crate) use parts::{IndexPart, MadePart, MakeParts};
pub(crate) use request::cosine;
use request::too_few;
pub use request::{IndexKind, IndexRequest};
pub use stats::IndexStats;
pub(crate) use stats::{COSINE, image_column, indexes_of, vector_column};

use super::commit::{back_off, unless_race_lost};
use super::{Snapshot, Store};
use crate::error::VectorError;
use crate::progress::NoProgress;
use crate::schema::StoreTable;
use crate::{Error, Result};

/// Attempts of a change, if other writers win each time.
const ATTEMPTS: u32 = 5;

impl Store {
    /// Makes an index of a table's vectors for their cosine similarity, or of its images, in one commit. It takes the
    /// place of an earlier one of the same column.
    ///
    /// It is made while others can write; only the switch to it waits for the lock. Rows that come meanwhile are not in
    /// it.
    ///
    /// # Examples
    /// ```
    /// use grainstore::schema::{StoreTable, VectorTable};
    /// use grainstore::store::IndexRequest;
    ///
    /// # async fn example(
    /// #     store: &grainstore::store::Store,
    /// #     embedder_id: grainstore::ids::EmbedderId,
    /// # ) -> grainstore::Result<()> {
    /// let table = StoreTable::Vectors(VectorTable::Masks, embedder_id);
    /// let index = store.create_index(&IndexRequest::new(table)).await?;
    /// assert_eq!(index.unindexed_rows, 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a table without such a column, or with too few rows, and for numbers that do not
    /// fit it;
    /// [`Error::CommitContention`] if other writers changed the table's files each time; [`Error::StoreDamaged`] for
    /// files that are not as they were written; errors from Lance.
    pub async fn create_index(&self, request: &IndexRequest) -> Result<IndexStats> {
        let create = || self.try_create_index(request).boxed();
        until_no_race_is_lost("create index", create).await
    }

    /// Makes an index and commits it; `None` if another writer interfered.
    async fn try_create_index(&self, request: &IndexRequest) -> Result<Option<IndexStats>> {
        // Restoring a table afterwards would take the index back.
        let snapshot = self.settled().await?;
        let table = &request.table;
        let column = request.kind.column(table)?;
        existing(&snapshot, table)?;
        let mut dataset = snapshot.stored(table).await?.as_ref().clone();
        let params = request.params(&dataset, column).await?;
        verify(&snapshot, table).await?;
        let (name, columns) = (index_name(column), [column]);
        let made = dataset
            .create_index_builder(&columns, request.index_type(), params.as_ref())
            .name(name.clone())
            .replace(true)
            .execute_uncommitted()
            .await?;
        // Where fewer vectors than needed are not null, Lance makes an index of nothing.
        let covered = made.fragment_bitmap.as_ref();
        if covered.is_none_or(|covered| covered.is_empty()) {
            return Err(too_few(request.kind, table));
        }

        let _guard = self.inner.lock.acquire().await?;
        let Some(mut changing) = self.changing(table).await? else {
            return Ok(None);
        };
        let version = made.dataset_version;
        let operation = Operation::CreateIndex {
            removed_indices: changing.dataset.load_indices_by_name(&name).await?,
            new_indices: vec![made],
        };
        changing.exchange(version, operation).await?;
        let committed = self.put_changed("create index", table, changing).await?;
        index_of_column(committed, table, column).await
    }

    /// Adds the rows that are not in the indexes of a table to them, in one commit. Others wait meanwhile.
    ///
    /// # Errors
    /// [`crate::error::VectorError::NoSuchIndex`] if it has none; otherwise as [`Store::create_index`].
    pub async fn update_indexes(&self, table: &StoreTable) -> Result<Vec<IndexStats>> {
        let update = || self.try_update_indexes(table).boxed();
        until_no_race_is_lost("update index", update).await
    }

    async fn try_update_indexes(&self, table: &StoreTable) -> Result<Option<Vec<IndexStats>>> {
        let snapshot = self.settled().await?;
        let found = indexes_in(&snapshot, table).await?;
        if found.iter().all(|index| index.unindexed_rows == 0) {
            return Ok(Some(found));
        }
        verify(&snapshot, table).await?;
        let _guard = self.inner.lock.acquire().await?;
        let Some(mut changing) = self.changing(table).await? else {
            return Ok(None);
        };
        let options = Default::default();
        changing.dataset.optimize_indices(&options).await?;
        if changing.dataset.version_id() == changing.before {
            // Rows without a vector are all that is not in it.
            return Ok(Some(found));
        }
        match self.put_changed("update index", table, changing).await? {
            Some(committed) => Ok(Some(indexes_in(&committed, table).await?)),
            None => Ok(None),
        }
    }

    /// Drops the indexes of a table, or that of one column, in one commit. Their files stay as long as an earlier
    /// version of the store has them. Returns those that it dropped.
    ///
    /// # Errors
    /// [`crate::error::VectorError::NoSuchIndex`] if it has none; [`Error::CommitContention`]; errors from Lance.
    pub async fn drop_indexes(
        &self,
        table: &StoreTable,
        kind: Option<IndexKind>,
    ) -> Result<Vec<IndexStats>> {
        let drop = || self.try_drop_indexes(table, kind).boxed();
        until_no_race_is_lost("drop index", drop).await
    }

    async fn try_drop_indexes(
        &self,
        table: &StoreTable,
        kind: Option<IndexKind>,
    ) -> Result<Option<Vec<IndexStats>>> {
        let mut found = indexes_in(&self.settled().await?, table).await?;
        if let Some(kind) = kind {
            let column = kind.column(table)?;
            found.retain(|index| index.column == column);
        }
        if found.is_empty() {
            return Err(no_such_index(table, kind.map_or("rows", IndexKind::of)));
        }
        let _guard = self.inner.lock.acquire().await?;
        let Some(mut changing) = self.changing(table).await? else {
            return Ok(None);
        };
        let mut removed_indices = Vec::new();
        for index in &found {
            removed_indices.extend(changing.dataset.load_indices_by_name(&index.name).await?);
        }
        let operation = Operation::CreateIndex {
            removed_indices,
            new_indices: Vec::new(),
        };
        changing.exchange(changing.before, operation).await?;
        let committed = self.put_changed("drop index", table, changing).await?;
        Ok(committed.map(|_| found))
    }

    /// The newest state of a table, for a caller that holds the lock; `None` if the table is gone.
    async fn changing(&self, table: &StoreTable) -> Result<Option<Changing>> {
        let head = self.snapshot().await?;
        if !head.has_table(table) {
            return Ok(None);
        }
        let mut tables = self.recover(&head, head.stored_tables()).await?;
        let dataset = match tables.remove(table) {
            Some(restored) => restored,
            None => head.stored(table).await?.as_ref().clone(),
        };
        Ok(Some(Changing {
            before: dataset.version_id(),
            head,
            tables,
            dataset,
        }))
    }

    /// Commits a table whose indexes have changed; `None` if another writer interfered.
    async fn put_changed(
        &self,
        operation: &str,
        table: &StoreTable,
        changed: Changing,
    ) -> Result<Option<Snapshot>> {
        let Changing {
            head,
            mut tables,
            dataset,
            before,
        } = changed;
        if !is_one_change(&dataset, before).await? {
            return Ok(None);
        }
        tables.insert(table.clone(), dataset);
        let record = head.record().next(operation);
        self.put(Some(&head), record, tables).await
    }
}

/// A table whose indexes are changed, by a writer that holds the lock.
struct Changing {
    /// The store before.
    head: Snapshot,
    /// Other tables, restored after a writer that died.
    tables: BTreeMap<StoreTable, Dataset>,
    dataset: Dataset,
    /// The table's version before the change.
    before: u64,
}

impl Changing {
    /// Puts indexes that were made of a version of the table in the place of others.
    async fn exchange(&mut self, made_of: u64, operation: Operation) -> Result<()> {
        let transaction = TransactionBuilder::new(made_of, operation).build();
        let dataset = Arc::new(self.dataset.clone());
        self.dataset = CommitBuilder::new(dataset).execute(transaction).await?;
        Ok(())
    }
}

fn index_name(column: &str) -> String {
    format!("{column}_idx")
}

/// That the snapshot has a table.
fn existing(snapshot: &Snapshot, table: &StoreTable) -> Result<()> {
    if snapshot.has_table(table) {
        return Ok(());
    }
    Err(Error::InvalidOption {
        what: "table",
        value: table.path(),
        expected: "a table of the store, such as 'masks', or vectors of an embedder that has some"
            .to_owned(),
    })
}

/// That the table's files are as they were written: otherwise vectors that had changed on disk would be in an index that is valid.
async fn verify(snapshot: &Snapshot, table: &StoreTable) -> Result<()> {
    snapshot
        .verify(std::slice::from_ref(table), &NoProgress)
        .await
}

/// The indexes of a table: at least one.
async fn indexes_in(snapshot: &Snapshot, table: &StoreTable) -> Result<Vec<IndexStats>> {
    existing(snapshot, table)?;
    let indexes = indexes_of(snapshot.stored(table).await?.as_ref(), &table.path()).await?;
    if indexes.is_empty() {
        return Err(no_such_index(table, "rows"));
    }
    Ok(indexes)
}

fn no_such_index(table: &StoreTable, of: &'static str) -> Error {
    Error::Vectors(VectorError::NoSuchIndex {
        table: table.path(),
        of,
    })
}

/// The index of a table's column in what was committed, if anything was.
async fn index_of_column(
    committed: Option<Snapshot>,
    table: &StoreTable,
    column: &str,
) -> Result<Option<IndexStats>> {
    let Some(committed) = committed else {
        return Ok(None);
    };
    let found = indexes_in(&committed, table).await?;
    Ok(found.into_iter().find(|index| index.column == column))
}

/// Tries a change anew while other writers win; an attempt that they interfere with has no result.
///
/// # Errors
/// [`Error::CommitContention`] if they win each time.
async fn until_no_race_is_lost<'a, T>(
    operation: &str,
    change: impl Fn() -> BoxFuture<'a, Result<Option<T>>>,
) -> Result<T> {
    for attempt in 0..ATTEMPTS {
        if let Some(changed) = unless_race_lost(change().await)?.flatten() {
            return Ok(changed);
        }
        back_off(attempt).await;
    }
    Err(Error::CommitContention {
        operation: operation.to_owned(),
        attempts: ATTEMPTS,
    })
}

/// Whether a single change of indexes, and no other writer, brought the table from version `before` to this one.
async fn is_one_change(dataset: &Dataset, before: u64) -> Result<bool> {
    if dataset.version_id() != before + 1 {
        return Ok(false);
    }
    let transaction = dataset
        .read_transaction_by_version(dataset.version_id())
        .await?;
    let operation = transaction.map(|transaction| transaction.operation);
    Ok(matches!(operation, Some(Operation::CreateIndex { .. })))
}
