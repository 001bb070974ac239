//! Indexes of vectors: made, brought up to date and dropped in commits of the store.
//!
//! Lance's index files never change once they are written, and a version of a table names those that it has. So an
//! index comes with a new version of its table, and a commit record names that version as any other; earlier snapshots
//! go on without the index. Rows that are added later are not in it until it is brought up to date; until then, they
//! are compared one by one.

mod request;
mod stats;

use std::collections::BTreeMap;
use std::sync::Arc;

use lance::dataset::transaction::{Operation, TransactionBuilder};
use lance::dataset::{CommitBuilder, Dataset};
use lance::index::DatasetIndexExt;

pub(crate) use request::cosine;
use request::too_few;
pub use request::{IndexKind, VectorIndexRequest};
pub use stats::IndexStats;
pub(crate) use stats::{COSINE, indexes_of, vector_column};

use super::commit::{back_off, unless_race_lost};
use super::{Snapshot, Store};
use crate::error::VectorError;
use crate::progress::NoProgress;
use crate::schema::StoreTable;
use crate::{Error, Result};

/// Attempts of a change, if other writers win each time.
const ATTEMPTS: u32 = 5;

impl Store {
    /// Makes an index of a table's vectors for their cosine similarity, in one commit. It takes the place of an earlier
    /// one.
    ///
    /// It is made while others can write; only the switch to it waits for the lock. Rows that come meanwhile are not in
    /// it.
    ///
    /// # Examples
    /// ```
    /// use grainstore::schema::{StoreTable, VectorTable};
    /// use grainstore::store::VectorIndexRequest;
    ///
    /// # async fn example(
    /// #     store: &grainstore::store::Store,
    /// #     embedder_id: grainstore::ids::EmbedderId,
    /// # ) -> grainstore::Result<()> {
    /// let table = StoreTable::Vectors(VectorTable::Masks, embedder_id);
    /// let index = store.create_vector_index(&VectorIndexRequest::new(table)).await?;
    /// assert_eq!(index.unindexed_rows, 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a table without vectors, or with too few, and for numbers that do not fit it;
    /// [`Error::CommitContention`] if other writers changed the table's files each time; [`Error::StoreDamaged`] for
    /// files that are not as they were written; errors from Lance.
    pub async fn create_vector_index(&self, request: &VectorIndexRequest) -> Result<IndexStats> {
        for attempt in 0..ATTEMPTS {
            let made = Box::pin(self.try_create_index(request)).await;
            if let Some(stats) = unless_race_lost(made)?.flatten() {
                return Ok(stats);
            }
            back_off(attempt).await;
        }
        Err(contention("create index"))
    }

    /// Makes an index and commits it; `None` if another writer interfered.
    async fn try_create_index(&self, request: &VectorIndexRequest) -> Result<Option<IndexStats>> {
        // Restoring a table afterwards would take the index back.
        let snapshot = self.settled().await?;
        let table = &request.table;
        let column = indexable(&snapshot, table)?;
        let mut dataset = snapshot.stored(table).await?.as_ref().clone();
        let params = request.params(&dataset, column).await?;
        // Otherwise vectors that had changed on disk would be in an index that is valid.
        snapshot
            .verify(std::slice::from_ref(table), &NoProgress)
            .await?;
        let (name, columns) = (index_name(column), [column]);
        let made = dataset
            .create_index_builder(&columns, params.index_type(), &params)
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
        let operation = Operation::CreateIndex {
            removed_indices: changing.dataset.load_indices_by_name(&name).await?,
            new_indices: vec![made.clone()],
        };
        let transaction = TransactionBuilder::new(made.dataset_version, operation).build();
        let indexed = CommitBuilder::new(Arc::new(changing.dataset)).execute(transaction);
        changing.dataset = indexed.await?;
        self.put_index("create index", table, changing).await
    }

    /// Adds the rows that are not in the index of a table to it, in one commit. Others wait meanwhile.
    ///
    /// # Errors
    /// [`crate::error::VectorError::NoSuchIndex`] if it has none; otherwise as [`Store::create_vector_index`].
    pub async fn update_vector_index(&self, table: &StoreTable) -> Result<IndexStats> {
        for attempt in 0..ATTEMPTS {
            let made = Box::pin(self.try_update_index(table)).await;
            if let Some(stats) = unless_race_lost(made)?.flatten() {
                return Ok(stats);
            }
            back_off(attempt).await;
        }
        Err(contention("update index"))
    }

    async fn try_update_index(&self, table: &StoreTable) -> Result<Option<IndexStats>> {
        let snapshot = self.settled().await?;
        let found = index_in(&snapshot, table).await?;
        if found.unindexed_rows == 0 {
            return Ok(Some(found));
        }
        snapshot
            .verify(std::slice::from_ref(table), &NoProgress)
            .await?;
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
        self.put_index("update index", table, changing).await
    }

    /// Drops the index of a table, in one commit. Its files stay as long as an earlier version of the store has it.
    ///
    /// # Errors
    /// [`crate::error::VectorError::NoSuchIndex`] if it has none; [`Error::CommitContention`]; errors from Lance.
    pub async fn drop_vector_index(&self, table: &StoreTable) -> Result<()> {
        for attempt in 0..ATTEMPTS {
            let dropped = Box::pin(self.try_drop_index(table)).await;
            if unless_race_lost(dropped)?.flatten().is_some() {
                return Ok(());
            }
            back_off(attempt).await;
        }
        Err(contention("drop index"))
    }

    async fn try_drop_index(&self, table: &StoreTable) -> Result<Option<()>> {
        let found = index_in(&self.settled().await?, table).await?;
        let _guard = self.inner.lock.acquire().await?;
        let Some(mut changing) = self.changing(table).await? else {
            return Ok(None);
        };
        changing.dataset.drop_index(&found.name).await?;
        let committed = self.put_changed("drop index", table, changing).await?;
        Ok(committed.map(drop))
    }

    /// The newest state of a table, for a caller that holds the lock; `None` if the table is gone.
    async fn changing(&self, table: &StoreTable) -> Result<Option<Changing>> {
        let head = self.snapshot().await?;
        if !head.has_table(table) {
            return Ok(None);
        }
        let mut tables = self.recover(&head).await?;
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

    /// Commits a table that has an index now; `None` if another writer interfered.
    async fn put_index(
        &self,
        operation: &str,
        table: &StoreTable,
        changed: Changing,
    ) -> Result<Option<IndexStats>> {
        match self.put_changed(operation, table, changed).await? {
            Some(committed) => Ok(Some(index_in(&committed, table).await?)),
            None => Ok(None),
        }
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

fn index_name(column: &str) -> String {
    format!("{column}_idx")
}

/// The column of vectors of a table that the snapshot has.
fn indexable(snapshot: &Snapshot, table: &StoreTable) -> Result<&'static str> {
    let column = vector_column(table).filter(|_| snapshot.has_table(table));
    column.ok_or_else(|| Error::InvalidOption {
        what: "table with vectors",
        value: table.path(),
        expected: "'masks', or vectors of an embedder that has some".to_owned(),
    })
}

/// The index of a table's vectors.
async fn index_in(snapshot: &Snapshot, table: &StoreTable) -> Result<IndexStats> {
    let column = indexable(snapshot, table)?;
    let indexes = indexes_of(snapshot.stored(table).await?.as_ref(), &table.path()).await?;
    let mut of_column = indexes.into_iter().filter(|index| index.column == column);
    of_column.next().ok_or_else(|| {
        Error::Vectors(VectorError::NoSuchIndex {
            table: table.path(),
        })
    })
}

fn contention(operation: &str) -> Error {
    Error::CommitContention {
        operation: operation.to_owned(),
        attempts: ATTEMPTS,
    }
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
