//! Reading from a store: tables at versions that belong together.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use datafusion::logical_expr::Expr;
use datafusion::prelude::{col, lit};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use lance::dataset::Dataset;
use lance::dataset::scanner::Scanner;
use serde::Deserialize;
use tokio::sync::{OnceCell, mpsc};

use super::files::FORMAT_VERSION;
use super::format_1::View;
use super::rows::decode;
use super::{CommitRecord, Store};
use crate::ids::{EmbedderId, ExtractorId, ImageId};
use crate::schema::{StoreTable, Table};
use crate::{Error, Result};

/// The store as one commit left it. Later commits do not show in it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Snapshot {
    store: Store,
    record: Arc<CommitRecord>,
    tables: Arc<BTreeMap<StoreTable, OnceCell<Arc<Dataset>>>>,
    /// The tables in today's format, if the record is of an earlier one.
    view: Arc<OnceCell<View>>,
}

impl Snapshot {
    pub(super) fn new(store: Store, record: CommitRecord) -> Self {
        Self::with_tables(store, record, BTreeMap::new())
    }

    pub(super) fn with_tables(
        store: Store,
        record: CommitRecord,
        mut open: BTreeMap<StoreTable, Dataset>,
    ) -> Self {
        let cell = |(path, version): (&String, &u64)| {
            let table = StoreTable::from_path(path)?;
            let open = open.remove(&table).map(Arc::new);
            let open = open.or_else(|| store.opened(&table, *version));
            Some((table, OnceCell::new_with(open)))
        };
        Self {
            tables: Arc::new(record.tables.iter().filter_map(cell).collect()),
            store,
            record: Arc::new(record),
            view: Arc::default(),
        }
    }

    /// The version of the store that this snapshot shows.
    pub fn version(&self) -> u64 {
        self.record.version
    }

    /// The version of a table that this snapshot shows; `None` if it has no such table.
    pub(crate) fn version_of(&self, table: impl Into<StoreTable>) -> Option<u64> {
        self.record.tables.get(&table.into().path()).copied()
    }

    /// The record of the commit that this snapshot shows.
    pub fn record(&self) -> &CommitRecord {
        &self.record
    }

    /// The time for rows that are added to this snapshot. It is later than every commit so far, even if the clock was
    /// set back, because the newest rows are found by their time.
    pub fn now(&self) -> DateTime<Utc> {
        self.record.after()
    }

    /// The store that this is a snapshot of.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// A table's Lance dataset, at its version in this snapshot. A snapshot of an earlier format shows it in today's
    /// format.
    ///
    /// # Errors
    /// [`Error::NoSuchVersion`] if it has expired, [`Error::StoreDamaged`] if the record does not name the table, or
    /// errors from Lance.
    pub async fn dataset(&self, table: impl Into<StoreTable>) -> Result<Arc<Dataset>> {
        let table = table.into();
        if !self.is_current_format() {
            let view = self
                .view
                .get_or_try_init(|| Box::pin(View::of(self)))
                .await?;
            return view.dataset(&table);
        }
        self.stored(&table).await
    }

    /// Whether the tables have today's format.
    pub(super) fn is_current_format(&self) -> bool {
        self.record.format == FORMAT_VERSION
    }

    /// The tables that the record names.
    pub(super) fn stored_tables(&self) -> impl Iterator<Item = StoreTable> {
        self.tables.keys().cloned().collect::<Vec<_>>().into_iter()
    }

    /// Whether the snapshot has a table: every fixed one, and those of embedders that are in the store.
    pub fn has_table(&self, table: &StoreTable) -> bool {
        matches!(table, StoreTable::Fixed(_)) || self.is_stored(table)
    }

    /// Whether the record names a table.
    pub(super) fn is_stored(&self, table: &StoreTable) -> bool {
        self.tables.contains_key(table)
    }

    /// A table's Lance dataset as it is stored, whatever its format.
    ///
    /// # Errors
    /// As [`Snapshot::dataset`].
    pub(super) async fn stored(&self, table: &StoreTable) -> Result<Arc<Dataset>> {
        let open = || async {
            let version = self.record.tables.get(&table.path()).copied();
            let version = version.ok_or_else(|| Error::StoreDamaged {
                path: format!("commits/{}", self.record.version),
                reason: format!("it names no version of table '{}'", table.path()),
            })?;
            match self.store.open_table(table, Some(version)).await {
                Err(Error::Lance(lance::Error::VersionNotFound { .. })) => {
                    Err(Error::NoSuchVersion {
                        version: self.record.version,
                    })
                }
                opened => {
                    let opened = Arc::new(opened?);
                    self.store.keep_open(table, &opened);
                    Ok(opened)
                }
            }
        };
        match self.tables.get(table) {
            Some(cell) => cell.get_or_try_init(open).await.cloned(),
            None => open().await,
        }
    }

    /// The tables of vectors, by the names of their embedders.
    ///
    /// # Errors
    /// Any error from Lance.
    pub async fn vector_tables(&self) -> Result<Vec<(String, StoreTable)>> {
        #[derive(Deserialize)]
        struct Embedder {
            embedder_id: EmbedderId,
            embedder: String,
        }
        let stored: Vec<&StoreTable> = self
            .tables
            .keys()
            .filter(|table| matches!(table, StoreTable::Vectors(..)))
            .collect();
        if stored.is_empty() {
            return Ok(Vec::new());
        }
        let scan = self.scan(Table::Embedders).await?;
        let rows = scan.project(&["embedder_id", "embedder"])?;
        let mut names = BTreeMap::new();
        for batch in rows.collect().await? {
            let rows = decode::<Embedder>(Table::Embedders, &batch)?.into_iter();
            names.extend(rows.map(|row| (row.embedder_id, row.embedder)));
        }
        let named = stored.into_iter().filter_map(|table| match table {
            StoreTable::Vectors(_, id) => Some((names.get(id)?.clone(), table.clone())),
            StoreTable::Fixed(_) => None,
        });
        Ok(named.collect())
    }

    /// Number of rows of a table, from its metadata.
    ///
    /// # Errors
    /// Any error from Lance.
    pub async fn count(&self, table: impl Into<StoreTable>) -> Result<u64> {
        Ok(self.dataset(table).await?.count_rows(None).await? as u64)
    }

    /// Whether any row of a table has `value` in a column of text.
    ///
    /// # Errors
    /// If the table has no such column, or errors from Lance.
    pub async fn has_value(&self, table: Table, column: &str, value: &str) -> Result<bool> {
        let scan = self.scan(table).await?.project(&[column])?;
        let found = scan.filter(col(column).eq(lit(value))).limit(1)?;
        let found = found.collect().await?;
        Ok(found.iter().any(|batch| batch.num_rows() > 0))
    }

    /// The ids of the images that have rows in a table for which `wanted` holds. `among` restricts them to some images.
    ///
    /// # Errors
    /// Any error from Lance.
    pub async fn image_ids(
        &self,
        table: Table,
        mut wanted: Expr,
        among: Option<Vec<&ImageId>>,
    ) -> Result<HashSet<ImageId>> {
        #[derive(Deserialize)]
        struct OfImage {
            image_id: ImageId,
        }
        if let Some(images) = among {
            if images.is_empty() {
                return Ok(HashSet::new());
            }
            wanted = wanted.and(is_of_images(images));
        }
        let scan = self.scan(table).await?.project(&["image_id"])?;
        let mut rows = scan.filter(wanted).stream().await?;
        let mut found = HashSet::new();
        while let Some(batch) = rows.next().await {
            let images = decode::<OfImage>(table, &batch?)?;
            found.extend(images.into_iter().map(|row| row.image_id));
        }
        Ok(found)
    }

    /// Starts a scan of a table.
    ///
    /// # Examples
    /// ```
    /// use grainstore::datafusion::prelude::{col, lit};
    /// use grainstore::schema::Table;
    /// # use grainstore::ids::ImageId;
    /// # use grainstore::store::rows::{LabelRow, Row};
    /// # use grainstore::store::{Changes, Store, StoreOptions};
    ///
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
    /// let snapshot = store.snapshot().await?;
    /// let scan = snapshot.scan(Table::Labels).await?.project(&["image_id", "label"])?;
    /// let cats = scan.filter(col("label").eq(lit("cat"))).collect().await?;
    /// assert_eq!(cats.iter().map(|batch| batch.num_rows()).sum::<usize>(), 1);
    /// # Ok::<(), grainstore::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Snapshot::dataset`].
    pub async fn scan(&self, table: impl Into<StoreTable>) -> Result<Scan> {
        let mut scanner = self.dataset(table).await?.scan();
        scanner.scan_in_order(true);
        Ok(Scan { scanner })
    }
}

/// A scan of one table: choose columns and rows, then stream.
pub struct Scan {
    scanner: Scanner,
}

impl Scan {
    /// Reads only these columns.
    ///
    /// # Errors
    /// If the table has no such column.
    pub fn project(mut self, columns: &[&str]) -> Result<Self> {
        self.scanner.project(columns)?;
        Ok(self)
    }

    /// Reads only the rows for which `filter` holds.
    pub fn filter(mut self, filter: Expr) -> Self {
        self.scanner.filter_expr(filter);
        self
    }

    /// Reads at most `rows` rows.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if the number is 2^63 or more.
    pub fn limit(mut self, rows: u64) -> Result<Self> {
        let rows = i64::try_from(rows).map_err(|_| Error::InvalidOption {
            what: "limit of rows",
            value: rows.to_string(),
            expected: format!("a number up to {}", i64::MAX),
        })?;
        self.scanner.limit(Some(rows), None)?;
        Ok(self)
    }

    /// Streams the rows batch by batch, in the order in which they were written.
    ///
    /// # Errors
    /// Any error from Lance, at once or while streaming.
    pub async fn stream(self) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let stream = self.scanner.try_into_stream().await?;
        Ok(Box::pin(stream.map_err(Error::from)))
    }

    /// Reads every row into memory. Use it only for scans of bounded size.
    ///
    /// # Errors
    /// Any error from Lance.
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        self.stream().await?.try_collect().await
    }
}

/// A filter for rows whose `extractor_id` is one of `extractors`.
pub fn is_of_extractors(extractors: &[ExtractorId]) -> Expr {
    is_one_of("extractor_id", extractors.iter().map(ExtractorId::as_str))
}

/// A filter for rows whose `image_id` is one of `images`.
pub fn is_of_images<'a>(images: impl IntoIterator<Item = &'a ImageId>) -> Expr {
    is_one_of("image_id", images.into_iter().map(ImageId::as_str))
}

fn is_one_of<'a>(column: &str, values: impl Iterator<Item = &'a str>) -> Expr {
    let values: Vec<Expr> = values.map(lit).collect();
    if values.is_empty() {
        // Lance cannot read an empty list. Ids are never null.
        return col(column).is_null();
    }
    col(column).in_list(values, false)
}

/// Sends rows to a worker thread batch by batch, until the first error or until the worker has ended.
pub async fn send_batches(
    mut rows: BoxStream<'static, Result<RecordBatch>>,
    to_worker: mpsc::Sender<Result<RecordBatch>>,
) {
    while let Some(batch) = rows.next().await {
        let failed = batch.is_err();
        if to_worker.send(batch).await.is_err() || failed {
            return;
        }
    }
}
