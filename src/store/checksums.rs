//! Checksums of the tables' files, by which a byte that changed on disk is found before it becomes a wrong label.
//!
//! Lance's files hold none, but they never change once they are written. So every commit takes the checksums of the
//! files that it adds and writes them to a file beside its record:
//!
//! ```text
//! checksums/0000000042-9f86d081884c7d65.json   {"files": {"masks.lance/data/....lance": {"bytes": ..., "xxh3": ...}}}
//! ```
//!
//! A record names every checksum file that its tables need; when there are many, a commit merges them.
//!
//! In local stores, everything that makes labels (training, annotation, export) first compares the files that it is
//! about to read with their checksums; object stores do that themselves. Queries do not, because they would have to
//! read complete files where a query reads one column.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use futures::{StreamExt, TryStreamExt};
use lance::dataset::Dataset;
use lance::index::DatasetIndexExt;
use lance_table::format::{Fragment, IndexMetadata};
use serde::{Deserialize, Serialize};

use super::Snapshot;
use super::files::{CommitRecord, StoreFiles};
use super::sums::{Checksum, Summing};
use crate::error::FileAction;
use crate::progress::Progress;
use crate::schema::StoreTable;
use crate::{Error, Result};

/// Number of files that are read at the same time.
const CONCURRENT_FILES: usize = 4;
/// Number of checksum files at which the next commit merges them into one.
const MAX_CHECKSUM_FILES: usize = 64;

/// Checksums by path within the store.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Checksums {
    pub files: BTreeMap<String, Checksum>,
}

/// The result of reading every file of a snapshot.
#[derive(Debug, Default, Serialize)]
pub struct Verification {
    /// Number of files that were read.
    pub files: u64,
    /// Total size of these files in bytes.
    pub bytes: u64,
    /// Number of these files without a checksum; earlier versions of grainstore wrote none.
    pub without_checksum: u64,
    /// Files that are not as they were written.
    pub damaged: Vec<DamagedFile>,
}

/// A file that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DamagedFile {
    /// Path within the store, or the table if it cannot be opened at all.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

impl From<DamagedFile> for Error {
    fn from(file: DamagedFile) -> Self {
        Self::StoreDamaged {
            path: file.path,
            reason: file.reason,
        }
    }
}

/// The checksum of a local file; `None` if there is no such file.
pub(super) fn of_file(path: &Path) -> Result<Option<Checksum>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(Error::file(FileAction::Open, path)(err)),
    };
    let (mut sum, mut buffer) = (Summing::default(), vec![0; 1 << 18]);
    loop {
        match file
            .read(&mut buffer)
            .map_err(Error::file(FileAction::Read, path))?
        {
            0 => return Ok(Some(sum.end())),
            read => sum.add(buffer.get(..read).unwrap_or_default()),
        }
    }
}

/// The checksum of an object in an object store, taken as it streams in.
pub(super) async fn of_stream(found: object_store::GetResult) -> Result<Checksum> {
    let (mut sum, mut chunks) = (Summing::default(), found.into_stream());
    while let Some(chunk) = chunks.try_next().await.map_err(lance::Error::from)? {
        sum.add(&chunk);
    }
    Ok(sum.end())
}

/// The files of one version of a table, as paths within the store.
pub(super) async fn files_of(table: &StoreTable, dataset: &Dataset) -> Result<BTreeSet<String>> {
    let within = |folder: &str, name: &str| format!("{}.lance/{folder}/{name}", table.path());
    let manifest = dataset.manifest_location().path.filename();
    let mut files: BTreeSet<String> = manifest
        .map(|name| within("_versions", name))
        .into_iter()
        .collect();
    for fragment in dataset.fragments().iter() {
        files.extend(fragment.files.iter().map(|file| within("data", &file.path)));
        if let Some(deleted) = &fragment.deletion_file {
            let suffix = deleted.file_type.suffix();
            let name = format!(
                "{}-{}-{}.{suffix}",
                fragment.id, deleted.read_version, deleted.id
            );
            files.insert(within("_deletions", &name));
        }
    }
    for index in dataset.load_indices().await?.iter() {
        files.extend(index_files(table, index));
    }
    Ok(files)
}

impl StoreFiles {
    /// Writes the checksums of the added files to `checksums/` and adds that file's name to the record. On local stores
    /// the added files and their directories are fsynced first.
    ///
    /// `after` has the commit's tables; where checksum files are merged, only those of its files are kept.
    pub async fn put_checksums(
        &self,
        record: &mut CommitRecord,
        added: BTreeSet<String>,
        after: &Snapshot,
    ) -> Result<()> {
        self.sync(added.iter().cloned().collect()).await?;
        let sums = futures::stream::iter(added).map(|path| async move {
            let sum = self.checksum_of_added(&path).await?;
            Ok::<_, Error>((path, sum))
        });
        let mut files: BTreeMap<String, Checksum> = sums
            .buffer_unordered(CONCURRENT_FILES)
            .try_collect()
            .await?;
        if record.checksums.len() >= MAX_CHECKSUM_FILES {
            let (known, damaged) = self.checksums(&record.checksums).await?;
            // A checksum file that cannot be read stays named, so that 'check --deep' reports it.
            if damaged.is_empty() {
                let mut live = BTreeSet::new();
                for table in after.stored_tables() {
                    live.extend(files_of(&table, after.stored(&table).await?.as_ref()).await?);
                }
                files.extend(known.into_iter().filter(|(path, _)| live.contains(path)));
                record.checksums.clear();
            }
        }
        let name = self
            .write_checksums(record.version, &Checksums { files })
            .await?;
        record.checksums.push(name);
        Ok(())
    }

    /// The checksum of a file that was added: the one that is known, else by reading it.
    pub async fn checksum_of_added(&self, path: &str) -> Result<Checksum> {
        match self.known_checksum(path) {
            Some(sum) => Ok(sum),
            None => self
                .checksum(path)
                .await?
                .ok_or_else(|| missing(path).into()),
        }
    }

    /// Reads checksum files: returns the checksums in them, and the files that cannot be read.
    pub async fn checksums(
        &self,
        names: &[String],
    ) -> Result<(HashMap<String, Checksum>, Vec<DamagedFile>)> {
        let mut read = futures::stream::iter(names.to_vec())
            .map(|name| async move { (self.read_checksums(&name).await, name) })
            .buffered(CONCURRENT_FILES);
        let (mut known, mut damaged) = (HashMap::new(), Vec::new());
        while let Some((found, name)) = read.next().await {
            match found {
                Ok(Some(found)) => known.extend(found.files),
                Ok(None) => damaged.push(missing(&format!("checksums/{name}.json"))),
                Err(Error::StoreDamaged { path, reason }) => {
                    damaged.push(DamagedFile { path, reason });
                }
                Err(err) => return Err(err),
            }
        }
        Ok((known, damaged))
    }
}

impl Snapshot {
    /// The checksums of files that this process has written and no version of their table names yet, by their paths within the
    /// store. On a disk the files are safe from a power cut afterwards.
    pub(super) async fn checksums_of(
        &self,
        table: &StoreTable,
        fragments: &[Fragment],
    ) -> Result<BTreeMap<String, Checksum>> {
        let written = fragments.iter().flat_map(|fragment| &fragment.files);
        let paths = written.map(|file| format!("{}.lance/data/{}", table.path(), file.path));
        self.checksums_of_files(paths.collect()).await
    }

    /// As [`Snapshot::checksums_of`], of the files of an index.
    pub(super) async fn checksums_of_index(
        &self,
        table: &StoreTable,
        index: &IndexMetadata,
    ) -> Result<BTreeMap<String, Checksum>> {
        self.checksums_of_files(index_files(table, index).collect())
            .await
    }

    async fn checksums_of_files(&self, paths: Vec<String>) -> Result<BTreeMap<String, Checksum>> {
        let files = &self.store().inner.files;
        files.sync(paths.clone()).await?;
        let mut checksums = BTreeMap::new();
        for path in paths {
            let sum = files.checksum_of_added(&path).await?;
            checksums.insert(path, sum);
        }
        Ok(checksums)
    }
}

/// The files of an index, as paths within the store.
fn index_files(table: &StoreTable, index: &IndexMetadata) -> impl Iterator<Item = String> {
    let folder = format!("{}.lance/_indices/{}", table.path(), index.uuid);
    let files = index.files.iter().flatten();
    files.map(move |file| format!("{folder}/{}", file.path))
}

fn missing(path: &str) -> DamagedFile {
    DamagedFile {
        path: path.to_owned(),
        reason: "it is missing; restore it from a backup".to_owned(),
    }
}

/// Compares a file with its checksum; `None` if nothing is wrong.
fn damage_of(
    path: &str,
    written: Option<&Checksum>,
    found: Option<&Checksum>,
) -> Option<DamagedFile> {
    let Some(found) = found else {
        return Some(missing(path));
    };
    let written = written.filter(|written| *written != found)?;
    let difference = if written.bytes == found.bytes {
        "its content has changed since it was written".to_owned()
    } else {
        format!(
            "it was written with {} bytes and has {}",
            written.bytes, found.bytes
        )
    };
    Some(DamagedFile {
        path: path.to_owned(),
        reason: format!("{difference}; restore it from a backup"),
    })
}

impl Snapshot {
    /// Compares the files of tables with the checksums that were taken when they were written, if the store is local.
    ///
    /// # Errors
    /// [`Error::StoreDamaged`] names the first file that is not as it was written; [`Error::NoSuchVersion`] if the
    /// version has expired.
    pub async fn verify<T>(&self, tables: &[T], progress: &dyn Progress) -> Result<()>
    where
        T: Into<StoreTable> + Clone,
    {
        if self.store().inner.files.local_path().is_none() {
            return Ok(());
        }
        let mut files = BTreeSet::new();
        for table in tables.iter().cloned().map(Into::into) {
            if self.is_stored(&table) {
                files.extend(files_of(&table, self.stored(&table).await?.as_ref()).await?);
            }
        }
        let mut found = Verification::default();
        let unread = self.verify_files(files, &mut found, progress).await?;
        for DamagedFile { path, reason } in unread {
            tracing::warn!("files cannot be verified: '{path}': {reason}");
        }
        match found.damaged.into_iter().next() {
            Some(damaged) => Err(damaged.into()),
            None => Ok(()),
        }
    }

    /// Reads every file of every table, compares it with its checksum, and reads every row.
    ///
    /// # Errors
    /// [`Error::NoSuchVersion`] if the version expires meanwhile; errors from the file system. Damage is not an error;
    /// it is reported in the result.
    pub async fn verify_all(&self, progress: &dyn Progress) -> Result<Verification> {
        let mut verification = Verification::default();
        let mut files = BTreeSet::new();
        let mut open = Vec::new();
        for table in self.stored_tables() {
            let listed = match self.stored(&table).await {
                Ok(dataset) => files_of(&table, &dataset).await,
                Err(err) => Err(err),
            };
            match listed {
                Ok(of_table) => {
                    files.extend(of_table);
                    open.push(table);
                }
                Err(err) => verification.damaged.push(unreadable(&table, &err)),
            }
        }
        let unread = self
            .verify_files(files, &mut verification, progress)
            .await?;
        verification.damaged.extend(unread);
        for table in open {
            let folder = format!("{}.lance/", table.path());
            let known = |file: &DamagedFile| file.path.starts_with(&folder);
            // Lance is not made to read damaged files.
            if verification.damaged.iter().any(known) {
                continue;
            }
            if let Err(err) = self.read_all(&table).await {
                verification.damaged.push(unreadable(&table, &err));
            }
        }
        Ok(verification)
    }

    /// Compares files with their checksums; returns the checksum files that cannot be read.
    async fn verify_files(
        &self,
        files: BTreeSet<String>,
        verification: &mut Verification,
        progress: &dyn Progress,
    ) -> Result<Vec<DamagedFile>> {
        let store = &self.store().inner.files;
        let (known, unread) = store.checksums(&self.record().checksums).await?;
        progress.start("verifying files", Some(files.len() as u64));
        let mut read = futures::stream::iter(files)
            .map(|path| async move { Ok::<_, Error>((store.checksum(&path).await?, path)) })
            .buffered(CONCURRENT_FILES);
        while let Some(found) = read.next().await {
            let (found, path) = found?;
            let written = known.get(&path);
            verification.files += 1;
            verification.bytes += found.as_ref().map_or(0, |found| found.bytes);
            verification.without_checksum += u64::from(written.is_none());
            let damaged = damage_of(&path, written, found.as_ref());
            verification.damaged.extend(damaged);
            progress.advance(1);
        }
        progress.finish();
        if !verification.damaged.is_empty() && !store.has_commit(self.version()).await? {
            // A clean-up removed them while they were being read.
            return Err(Error::NoSuchVersion {
                version: self.version(),
            });
        }
        Ok(unread)
    }

    async fn read_all(&self, table: &StoreTable) -> Result<()> {
        let mut rows = self.stored(table).await?.scan().try_into_stream().await?;
        while let Some(batch) = rows.next().await {
            batch?;
        }
        Ok(())
    }
}

fn unreadable(table: &StoreTable, err: &Error) -> DamagedFile {
    DamagedFile {
        path: format!("{}.lance", table.path()),
        reason: format!("it cannot be read: {err}"),
    }
}
