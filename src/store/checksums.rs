//! Checksums of tables' files: a byte that changed on disk is found before it becomes a wrong label.
//!
//! Lance's files hold none. But they are never changed once they are written, so every commit takes the checksums of
//! those it adds, and puts them into a file beside its record:
//!
//! ```text
//! checksums/0000000042-9f86d081884c7d65.json   {"files": {"masks.lance/data/....lance": {"bytes": ..., "xxh3": ...}}}
//! ```
//!
//! A record names all such files that its tables' files stand in; when they become many, a commit merges them.
//!
//! Whatever makes labels (training, annotation, export) holds the files it is about to read against them, in stores on
//! this machine; object stores do that themselves. Queries do not, since it means to read whole files where a query
//! reads a column.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use futures::{StreamExt, TryStreamExt};
use lance::dataset::Dataset;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::Snapshot;
use super::files::{CommitRecord, StoreFiles};
use crate::progress::Progress;
use crate::schema::Table;
use crate::{Error, Result};

/// Files that are read at once.
const CONCURRENT_FILES: usize = 4;
/// So many files of checksums are merged into one.
const MAX_CHECKSUM_FILES: usize = 64;

/// Size and XXH3 of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checksum {
    bytes: u64,
    /// 16 hex digits.
    xxh3: String,
}

/// Checksums by path within the store.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Checksums {
    pub files: BTreeMap<String, Checksum>,
}

/// What reading every file of a snapshot found.
#[derive(Debug, Default, Serialize)]
pub struct Verification {
    /// Files that were read.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
    /// Of those the ones whose commit took no checksum: an earlier version of grainstore wrote them.
    pub without_checksum: u64,
    /// Those that are not as they were written.
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

/// Hashes what is read from a file bit by bit.
#[derive(Default)]
struct Summing {
    hash: Xxh3,
    bytes: u64,
}

impl Summing {
    fn add(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    fn end(self) -> Checksum {
        Checksum {
            bytes: self.bytes,
            xxh3: format!("{:016x}", self.hash.digest()),
        }
    }
}

/// Of a file on this machine; none if there is no such file.
pub(super) fn of_file(path: &Path) -> Result<Option<Checksum>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(Error::file("open", path)(err)),
    };
    let (mut sum, mut buffer) = (Summing::default(), vec![0; 1 << 18]);
    loop {
        match file.read(&mut buffer).map_err(Error::file("read", path))? {
            0 => return Ok(Some(sum.end())),
            read => sum.add(buffer.get(..read).unwrap_or_default()),
        }
    }
}

/// Of an object elsewhere, as it streams in.
pub(super) async fn of_stream(found: object_store::GetResult) -> Result<Checksum> {
    let (mut sum, mut chunks) = (Summing::default(), found.into_stream());
    while let Some(chunk) = chunks.try_next().await.map_err(lance::Error::from)? {
        sum.add(&chunk);
    }
    Ok(sum.end())
}

/// The files that a version of a table is made of, by their paths within the store.
pub(super) fn files_of(table: Table, dataset: &Dataset) -> BTreeSet<String> {
    let within = |folder: &str, name: &str| format!("{}.lance/{folder}/{name}", table.name());
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
    files
}

impl StoreFiles {
    /// Takes the checksums of files that a commit adds, and puts them beside its record, whose list of such files it
    /// extends. On this machine the files, and that they are there, are on the disk afterwards.
    ///
    /// `live` says of every file of the commit's tables where lists are merged.
    pub async fn put_checksums(
        &self,
        record: &mut CommitRecord,
        added: BTreeSet<String>,
        live: &BTreeSet<String>,
    ) -> Result<()> {
        self.sync(added.iter().cloned().collect()).await?;
        let sums = futures::stream::iter(added).map(|path| async move {
            match self.checksum(&path).await? {
                Some(sum) => Ok((path, sum)),
                None => Err(Error::from(missing(&path))),
            }
        });
        let mut files: BTreeMap<String, Checksum> = sums
            .buffer_unordered(CONCURRENT_FILES)
            .try_collect()
            .await?;
        if record.checksums.len() >= MAX_CHECKSUM_FILES {
            let (known, damaged) = self.checksums(&record.checksums).await?;
            // One that cannot be read stays named, for 'check --deep' to tell.
            if damaged.is_empty() {
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

    /// The checksums in files of them, and which of these cannot be read.
    async fn checksums(
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

fn missing(path: &str) -> DamagedFile {
    DamagedFile {
        path: path.to_owned(),
        reason: "it is missing; restore it from a backup".to_owned(),
    }
}

/// What is wrong with a file, if anything is.
fn judge(path: &str, written: Option<&Checksum>, found: Option<&Checksum>) -> Option<DamagedFile> {
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
    /// Holds the files of tables against the checksums that were taken when they were written, if the store is on this
    /// machine.
    ///
    /// # Errors
    /// [`Error::StoreDamaged`] names the first file that is not as it was written; [`Error::NoSuchVersion`] if it was
    /// cleaned up.
    pub async fn verify(&self, tables: &[Table], progress: &dyn Progress) -> Result<()> {
        if self.store().inner.files.local_path().is_none() {
            return Ok(());
        }
        let mut files = BTreeSet::new();
        for table in tables {
            if self.record().tables.contains_key(table.name()) {
                files.extend(files_of(*table, self.stored(*table).await?.as_ref()));
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

    /// Reads every file of every table, holds it against its checksum, and reads every row.
    ///
    /// # Errors
    /// What the file system says; what is damaged is no error, but told.
    pub async fn verify_all(&self, progress: &dyn Progress) -> Result<Verification> {
        let mut verification = Verification::default();
        let mut files = BTreeSet::new();
        let mut open = Vec::new();
        for table in self.stored_tables() {
            match self.stored(table).await {
                Ok(dataset) => {
                    files.extend(files_of(table, &dataset));
                    open.push(table);
                }
                Err(err) => verification.damaged.push(unreadable(table, &err)),
            }
        }
        let unread = self
            .verify_files(files, &mut verification, progress)
            .await?;
        verification.damaged.extend(unread);
        for table in open {
            let folder = format!("{}.lance/", table.name());
            let known = |file: &DamagedFile| file.path.starts_with(&folder);
            // Lance was not made to read what is damaged.
            if verification.damaged.iter().any(known) {
                continue;
            }
            if let Err(err) = self.read_all(table).await {
                verification.damaged.push(unreadable(table, &err));
            }
        }
        Ok(verification)
    }

    /// Returns the files of checksums that cannot be read.
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
            let damaged = judge(&path, written, found.as_ref());
            verification.damaged.extend(damaged);
            progress.advance(1);
        }
        progress.finish();
        if !verification.damaged.is_empty() && !store.has_commit(self.version()).await? {
            // A clean-up took them while they were read.
            return Err(Error::NoSuchVersion {
                version: self.version(),
            });
        }
        Ok(unread)
    }

    async fn read_all(&self, table: Table) -> Result<()> {
        let mut rows = self.stored(table).await?.scan().try_into_stream().await?;
        while let Some(batch) = rows.next().await {
            batch?;
        }
        Ok(())
    }
}

fn unreadable(table: Table, err: &Error) -> DamagedFile {
    DamagedFile {
        path: format!("{}.lance", table.name()),
        reason: format!("it cannot be read: {err}"),
    }
}
