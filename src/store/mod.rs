//! The store: a directory (or object-store prefix) of Lance datasets that change together.
//!
//! Record batches for one or more tables come in and are written in one [`Store::commit`]. [`Snapshot`]s go out, each a
//! set of table versions that belong together. This module does not know what the rows mean.
//!
//! ```text
//! STORE/
//!   grainstore.json          format version and embedding type
//!   commits/0000000042.json  one record per commit: the version of every table
//!   checksums/...json        sizes and checksums of the files that a commit added
//!   tags/NAME.json           a name for a commit
//!   staging/ jobs/           what workers wrote for the next commit, and what they are to do
//!   checkpoints/             weights, for workers
//!   journals/...jsonl        labels that a review page saved, until they are in a table (local stores)
//!   lock                     held while committing (local stores)
//!   images.lance/ ...        one plain Lance dataset per table
//!   vectors/ID.lance/ ...    one per embedder, and image_vectors/ID.lance
//! ```
//!
//! # Why a commit is atomic across tables
//!
//! Lance makes a change to one dataset atomic; a commit record makes a change to several atomic. Readers open every
//! table at the version that the newest record names. Until the record of a commit is written, they see its rows in no
//! table. The record is put with *create, fail if it exists*, which local file systems and object stores do atomically.
//! Of two writers that start from the same record, one therefore wins, and the other starts again from the winner's.
//!
//! A writer that dies midway leaves table versions that no record names. The next commit finds them, because a table's
//! latest version is then not the recorded one, and restores the recorded versions first. Safety rests on the records
//! alone. The lock of local stores only spares writers the retries, and the kernel frees it when its holder dies.

mod checksums;
pub(crate) mod columns;
mod commit;
mod copy;
mod disk;
mod engine;
mod files;
mod format_1;
mod fragments;
mod image_set;
mod index;
mod journal;
mod location;
mod lock;
mod maintain;
mod meter;
mod open_stores;
mod photos;
mod probe;
pub mod rows;
mod shared;
mod snapshot;
mod staging;
mod sums;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use futures::future::try_join_all;
use lance::dataset::builder::DatasetBuilder;
use lance::dataset::{Dataset, WriteMode, WriteParams};
use lance::session::Session;

pub use checksums::{DamagedFile, Verification};
pub use commit::{Changes, Commit};
pub use copy::CopySummary;
pub use engine::QueryEngine;
pub use files::{CommitRecord, StoreOptions, Tag};
pub(crate) use image_set::ImageSet;
pub(crate) use index::{COSINE, IndexPart, MadePart, MakeParts, cosine, indexes_of, vector_column};
pub use index::{IndexKind, IndexRequest, IndexStats};
pub(crate) use journal::{JournalFile, journals, read_journal, take_over};
pub use location::{Location, StorageOption, StorageOptions};
pub use maintain::{CleanupStats, CompactStats, TableStats};
pub(crate) use maintain::{Merge, MergeFiles, Merged};
pub use meter::Traffic;
pub use open_stores::OpenStores;
pub(crate) use photos::check_size;
pub use photos::{ListedFile, PhotoFiles};
pub use snapshot::{Scan, Snapshot};
pub(crate) use snapshot::{is_of_extractors, is_of_images, send_batches};
pub(crate) use staging::{STAGED_KEPT, StagedRows};

use crate::schema::{StoreTable, Table};
use crate::{Error, Result};
use files::{FORMAT_VERSION, StoreFiles, StoreHeader};
use lock::CommitLock;
use rows::ExtractorRow;

/// Maximum size in bytes of each of a store's caches in memory: decoded Lance metadata, and index pages.
const CACHE_BYTES: usize = 64 << 20;

/// A store, open for reading and writing. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
    /// What runs the plans of queries, if not this process.
    engine: Option<Arc<dyn QueryEngine>>,
}

#[derive(Debug)]
struct Inner {
    files: StoreFiles,
    lock: CommitLock,
    options: StoreOptions,
    session: Arc<Session>,
    /// The tables that were opened last.
    open: Mutex<BTreeMap<Table, Arc<Dataset>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let traffic = self.files.traffic();
        if traffic.requests() > 0 {
            tracing::info!(
                "{}: {} requests, {} bytes read, {} bytes written",
                self.files.uri(),
                traffic.requests(),
                traffic.bytes_read,
                traffic.bytes_written,
            );
        }
    }
}

impl Store {
    /// Opens the store at `uri`: a directory, or a bucket (`s3://bucket/prefix`, see [`Location`]).
    ///
    /// # Errors
    /// [`Error::Location`] if `uri` is neither; [`Error::StoreNotFound`] if the place is empty, [`Error::NotAStore`] if it
    /// holds something else, [`Error::StoreFormat`] if a newer version of grainstore wrote it, [`Error::StoreDamaged`], or
    /// errors from the file system or the bucket.
    pub async fn open(uri: &str) -> Result<Self> {
        Self::open_with(uri, &StorageOptions::new()).await
    }

    /// Like [`Store::open`], with options for its bucket beside those in the environment.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_with(uri: &str, storage: &StorageOptions) -> Result<Self> {
        let files = StoreFiles::connect(uri, storage).await?;
        let header = match files.read_header().await? {
            Some(header) => header,
            None if files.is_empty().await? => {
                return Err(Error::StoreNotFound {
                    uri: files.uri().to_owned(),
                });
            }
            None => {
                return Err(Error::NotAStore {
                    uri: files.uri().to_owned(),
                });
            }
        };
        Self::with_header(files, header).await
    }

    /// Opens the store at `uri`, and creates it first if the place is empty.
    ///
    /// The options apply only to a new store. If two processes create it at once, those of the first apply.
    ///
    /// # Examples
    /// ```
    /// use grainstore::schema::EmbeddingType;
    /// use grainstore::store::{Store, StoreOptions};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let place = dir.path().to_str().unwrap();
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// let small = StoreOptions {
    ///     embedding: EmbeddingType {
    ///         dim: 256,
    ///         ..EmbeddingType::default()
    ///     },
    /// };
    /// let store = Store::open_or_create(place, small).await?;
    /// assert_eq!(store.snapshot().await?.version(), 1);
    ///
    /// let again = Store::open_or_create(place, StoreOptions::default()).await?;
    /// assert_eq!(again.options(), small); // as it was created
    /// # Ok::<(), grainstore::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Store::open`], except for [`Error::StoreNotFound`]; [`Error::UnsafeBucket`] for a bucket in which commits would
    /// be lost.
    pub async fn open_or_create(uri: &str, options: StoreOptions) -> Result<Self> {
        Self::open_or_create_with(uri, options, &StorageOptions::new()).await
    }

    /// Like [`Store::open_or_create`], with options for its bucket beside those in the environment.
    ///
    /// # Errors
    /// As [`Store::open_or_create`].
    pub async fn open_or_create_with(
        uri: &str,
        options: StoreOptions,
        storage: &StorageOptions,
    ) -> Result<Self> {
        let files = StoreFiles::connect(uri, storage).await?;
        let header = match files.read_header().await? {
            Some(header) => header,
            None if files.is_empty().await? => files.create_header(options).await?,
            None => {
                return Err(Error::NotAStore {
                    uri: files.uri().to_owned(),
                });
            }
        };
        let store = Self::with_header(files, header).await?;
        store.snapshot().await?;
        Ok(store)
    }

    async fn with_header(files: StoreFiles, header: StoreHeader) -> Result<Self> {
        if !(1..=FORMAT_VERSION).contains(&header.format_version) {
            return Err(Error::StoreFormat {
                uri: files.uri().to_owned(),
                found: header.format_version,
                expected: FORMAT_VERSION,
                advice: "update grainstore".to_owned(),
            });
        }
        files.probed(&header);
        let registry = files.registry();
        let store = Self {
            inner: Arc::new(Inner {
                lock: CommitLock::new(files.local_path()),
                files,
                options: header.options,
                session: Arc::new(Session::new(CACHE_BYTES, CACHE_BYTES, registry)),
                open: Mutex::default(),
            }),
            engine: None,
        };
        // A bucket is looked at by the first snapshot.
        let files = &store.inner.files;
        if files.local_path().is_some() && files.newest_commit().await?.is_none() {
            store.create_tables().await?;
        }
        Ok(store)
    }

    /// The store's directory or prefix.
    pub fn uri(&self) -> &str {
        self.inner.files.uri()
    }

    /// The same store, with queries over snapshots taken from it run by `engine`.
    pub fn with_engine(self, engine: Arc<dyn QueryEngine>) -> Self {
        Self {
            engine: Some(engine),
            ..self
        }
    }

    /// What runs the plans of queries, if not this process.
    pub(crate) fn engine(&self) -> Option<&Arc<dyn QueryEngine>> {
        self.engine.as_ref()
    }

    /// The store's directory; `None` if it is not on this machine.
    pub(crate) fn directory(&self) -> Option<std::path::PathBuf> {
        self.inner.files.local_path()
    }

    /// The options that were chosen when the store was created.
    pub fn options(&self) -> StoreOptions {
        self.inner.options
    }

    /// Checks that the store can keep an extractor's embeddings.
    ///
    /// # Errors
    /// [`Error::EmbeddingSize`] if it keeps embeddings of another size.
    pub fn check_embeddings(&self, extractor: &ExtractorRow) -> Result<()> {
        let expected = self.options().embedding.dim;
        let found = extractor.embedding_dim.unwrap_or_default();
        if i64::from(expected) != i64::from(found) {
            return Err(Error::EmbeddingSize { expected, found });
        }
        Ok(())
    }

    /// The Arrow schema of a table in this store.
    pub fn schema(&self, table: Table) -> SchemaRef {
        table.schema_with(self.inner.options.embedding)
    }

    /// The tables as the newest commit left them.
    ///
    /// # Errors
    /// [`Error::StoreNotFound`] if it has no commit, [`Error::StoreDamaged`], or errors from the file system.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        let files = &self.inner.files;
        let mut newest = files.newest_commit().await?;
        let is_bucket = files.local_path().is_none();
        if is_bucket && newest.is_none() && files.read_header().await?.is_some() {
            // Whoever created the store has not finished.
            self.create_tables().await?;
            newest = files.newest_commit().await?;
        }
        match newest {
            Some(record) => Ok(Snapshot::new(self.clone(), record)),
            None => Err(Error::StoreNotFound {
                uri: self.uri().to_owned(),
            }),
        }
    }

    /// The tables as commit `version` left them.
    ///
    /// # Errors
    /// [`Error::NoSuchVersion`] if there is no such commit, or it has expired.
    pub async fn snapshot_at(&self, version: u64) -> Result<Snapshot> {
        let record = self.inner.files.read_commit(version).await?;
        let record = record.ok_or(Error::NoSuchVersion { version })?;
        Ok(Snapshot::new(self.clone(), record))
    }

    /// Every commit that has not expired, oldest first.
    ///
    /// # Errors
    /// [`Error::StoreDamaged`], or errors from the file system.
    pub async fn log(&self) -> Result<Vec<CommitRecord>> {
        self.inner.files.commits().await
    }

    /// Reads photos, wherever the rows of `images` say that they lie. Call it inside a tokio runtime.
    pub fn photos(&self) -> PhotoFiles {
        let files = &self.inner.files;
        PhotoFiles::new(files.registry(), files.params_of_buckets())
    }

    /// What has passed between this process and buckets, of the store and of its photos.
    pub fn traffic(&self) -> Traffic {
        self.inner.files.traffic()
    }

    /// A table at a version, if it was opened before.
    fn opened(&self, table: &StoreTable, version: u64) -> Option<Arc<Dataset>> {
        // Tables of vectors can be removed and made again with the same versions.
        let StoreTable::Fixed(table) = table else {
            return None;
        };
        let open = self
            .inner
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let found = open.get(table)?;
        (found.version_id() == version).then(|| found.clone())
    }

    /// Keeps a table open for the snapshots that follow.
    fn keep_open(&self, table: &StoreTable, dataset: &Arc<Dataset>) {
        let StoreTable::Fixed(table) = table else {
            return;
        };
        let mut open = self
            .inner
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_newer = |other: &Arc<Dataset>| other.version_id() < dataset.version_id();
        if open.get(table).is_none_or(is_newer) {
            open.insert(*table, dataset.clone());
        }
    }

    fn table_uri(&self, table: &StoreTable) -> String {
        format!(
            "{}/{}.lance",
            self.uri().trim_end_matches('/'),
            table.path()
        )
    }

    async fn open_table(&self, table: &StoreTable, version: Option<u64>) -> Result<Dataset> {
        let mut builder = DatasetBuilder::from_uri(self.table_uri(table))
            .with_store_params(self.inner.files.params())
            .with_session(self.inner.session.clone());
        if let Some(version) = version {
            builder = builder.with_version(version);
        }
        // Some damaged manifests make Lance panic; in a task of its own, the panic becomes an error.
        let opened = tokio::spawn(async move { builder.load().await }).await;
        match opened {
            Ok(opened) => Ok(opened?),
            Err(_) => Err(Error::StoreDamaged {
                path: format!("{}.lance", table.path()),
                reason: "its manifest cannot be read; restore it from a backup".to_owned(),
            }),
        }
    }

    /// Creates the datasets and the first commit record; safe to repeat and to run concurrently.
    async fn create_tables(&self) -> Result<()> {
        let _guard = self.inner.lock.acquire().await?;
        if self.inner.files.newest_commit().await?.is_some() {
            return Ok(());
        }
        let creating = Table::ALL.map(|fixed| async move {
            let table = StoreTable::Fixed(fixed);
            let created = self.create_table(&table, self.schema(fixed), WriteMode::Create);
            let dataset = match created.await {
                Err(lance::Error::DatasetAlreadyExists { .. }) => {
                    self.open_table(&table, None).await?
                }
                created => created?,
            };
            Ok::<_, Error>((table, dataset))
        });
        let tables = try_join_all(creating).await?.into_iter().collect();
        self.put(None, CommitRecord::first(), tables).await?;
        Ok(())
    }

    /// Creates an empty table. Its row ids are addresses, not Lance's stable row ids: these are experimental in Lance 14
    /// (lance-format/lance discussion 6933), nothing here names rows by id, and compaction updates indices without them.
    /// With [`WriteMode::Overwrite`] it takes the place of what an interrupted commit may have left.
    async fn create_table(
        &self,
        table: &StoreTable,
        schema: SchemaRef,
        mode: WriteMode,
    ) -> Result<Dataset, lance::Error> {
        let empty = arrow::array::RecordBatchIterator::new([], schema);
        let params = WriteParams {
            mode,
            session: Some(self.inner.session.clone()),
            store_params: Some(self.inner.files.params()),
            ..Default::default()
        };
        Dataset::write(empty, &self.table_uri(table), Some(params)).await
    }
}
