//! The store's own small JSON files: header, commit records, checksums, tags.
//!
//! They go through Lance's object-store layer, so a store can live wherever Lance can. Only local stores write them
//! directly, so that they are on the disk before they get their name.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path as FsPath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use lance::io::{ObjectStore, ObjectStoreParams, ObjectStoreRegistry, StorageOptionsAccessor};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::checksums::{self, Checksums};
use super::disk::{
    check_seal, create_file, replace_file, sealed, sync_directory, sync_file, up_to,
};
use super::location::{Location, StorageOptions};
use super::meter::{Meter, Metering, Traffic};
use super::probe::{self, check_create_if_absent};
use super::sums::Checksum;
use crate::error::FileAction;
use crate::schema::{EmbeddingType, StoreTable, VectorTable};
use crate::task::blocking;
use crate::{Error, Result};

/// Version of the layout described in [`crate::store`]. Raised when older programs can no longer read a store
/// correctly.
pub(super) const FORMAT_VERSION: u32 = 2;

/// Options that are chosen when a store is created and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StoreOptions {
    /// Type of the embeddings.
    pub embedding: EmbeddingType,
}

/// The content of `grainstore.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoreHeader {
    pub format_version: u32,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    /// How it is known that the store's bucket creates an object for one writer alone; missing in a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_if_absent: Option<String>,
    #[serde(flatten)]
    pub options: StoreOptions,
}

/// The content of `copying.json`.
#[derive(Debug, Serialize, Deserialize)]
struct CopyMarker {
    program: String,
    begun_at: DateTime<Utc>,
}

/// In a header, of a bucket in which writers have raced.
const PROBED: &str = "probed";

/// One commit: the versions of all tables that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRecord {
    /// The store's version: 1, 2, ...
    pub version: u64,
    /// Format of the tables that it names; records of format 1 lack this key.
    #[serde(default = "first_format")]
    pub format: u32,
    /// What was done: `ingest images`, `compact`, ...
    pub operation: String,
    /// Time of the commit by the writer's clock; later than every commit before it, even if that clock was set back.
    pub committed_at: DateTime<Utc>,
    /// Program that wrote the record.
    pub program: String,
    /// Rows appended, by table.
    pub rows: BTreeMap<String, u64>,
    /// Rows deleted before these were appended, by table; not recorded by earlier versions of grainstore.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub deleted: BTreeMap<String, u64>,
    /// Lance version of every table.
    pub tables: BTreeMap<String, u64>,
    /// Files in `checksums/` that hold the checksums of the tables' files; earlier versions of grainstore wrote none.
    #[serde(default)]
    pub checksums: Vec<String>,
    /// A random number of the writer's, in 16 hex digits: by it, a writer whose answer was lost finds that a record is its
    /// own. Not recorded by earlier versions of grainstore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<String>,
}

impl CommitRecord {
    pub(super) fn first() -> Self {
        Self {
            version: 1,
            format: FORMAT_VERSION,
            operation: "create".to_owned(),
            committed_at: Utc::now(),
            program: program(),
            rows: BTreeMap::new(),
            deleted: BTreeMap::new(),
            tables: BTreeMap::new(),
            checksums: Vec::new(),
            writer: Some(nonce()),
        }
    }

    /// The record of the next commit, which so far leaves every table as it is.
    pub(super) fn next(&self, operation: &str) -> Self {
        Self {
            version: self.version + 1,
            format: self.format,
            operation: operation.to_owned(),
            committed_at: self.after(),
            program: program(),
            rows: BTreeMap::new(),
            deleted: BTreeMap::new(),
            tables: self.tables.clone(),
            checksums: self.checksums.clone(),
            writer: Some(nonce()),
        }
    }

    /// The current time, or the time just after this commit if that is later.
    pub(super) fn after(&self) -> DateTime<Utc> {
        Utc::now().max(self.committed_at + TimeDelta::microseconds(1))
    }
}

fn first_format() -> u32 {
    1
}

/// A random number in 16 hex digits.
fn nonce() -> String {
    format!("{:016x}", fastrand::u64(..))
}

/// A name for a commit. Tagged commits never expire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// The name.
    pub tag: String,
    /// Version of the store that it names.
    pub version: u64,
    /// Time at which the tag was created.
    pub created_at: DateTime<Utc>,
}

fn program() -> String {
    concat!("grainstore ", env!("CARGO_PKG_VERSION")).to_owned()
}

/// The place in which a store lives, and the store's own files there.
#[derive(Debug)]
pub(super) struct StoreFiles {
    objects: Arc<ObjectStore>,
    registry: Arc<ObjectStoreRegistry>,
    params_of_buckets: ObjectStoreParams,
    meter: Arc<Meter>,
    uri: String,
    base: Path,
    /// The directory, if the store is local.
    local: Option<PathBuf>,
    /// The newest record that was seen. Records do not change, and the newest never expires.
    newest: Mutex<Option<CommitRecord>>,
    /// Set once the bucket is known to be fit for a store; always set in a directory.
    is_probed: OnceCell<()>,
}

impl StoreFiles {
    /// Resolves `uri` and connects to it; nothing is created.
    pub async fn connect(uri: &str, options: &StorageOptions) -> Result<Self> {
        let (uri, local) = match Location::parse(uri)? {
            Location::Bucket(uri) => (uri, None),
            Location::Directory(path) => match path.to_str() {
                Some(text) => (text.to_owned(), Some(path)),
                None => {
                    return Err(Error::Content {
                        path,
                        place: String::new(),
                        reason: "a store's path must be valid UTF-8".to_owned(),
                    });
                }
            },
        };
        let registry = Arc::new(ObjectStoreRegistry::default());
        let meter = Arc::new(Meter::default());
        let params_of_buckets = metered(options, &meter);
        let params = params_of(local.is_some(), &params_of_buckets);
        let (objects, base) =
            ObjectStore::from_uri_and_params(registry.clone(), &uri, &params).await?;
        Ok(Self {
            uri,
            objects,
            registry,
            params_of_buckets,
            meter,
            base,
            is_probed: OnceCell::new_with(local.is_some().then_some(())),
            local,
            newest: Mutex::default(),
        })
    }

    /// The absolute directory, or the URI of the bucket's prefix.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// With what Lance opens the store's tables.
    pub fn params(&self) -> ObjectStoreParams {
        params_of(self.local.is_some(), &self.params_of_buckets)
    }

    /// With what photos in buckets are read, also for a store in a directory.
    pub fn params_of_buckets(&self) -> ObjectStoreParams {
        self.params_of_buckets.clone()
    }

    /// What has passed between this process and buckets.
    pub fn traffic(&self) -> Traffic {
        self.meter.traffic()
    }

    pub fn registry(&self) -> Arc<ObjectStoreRegistry> {
        self.registry.clone()
    }

    pub fn local_path(&self) -> Option<PathBuf> {
        self.local.clone()
    }

    pub fn objects(&self) -> &dyn object_store::ObjectStore {
        self.objects.inner.as_ref()
    }

    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Makes a place ready for a copy of a store: it must be empty, or hold a copy that was interrupted.
    ///
    /// # Errors
    /// [`Error::NotAStore`] for a place that holds something else; [`Error::UnsafeBucket`].
    pub async fn begin_copy(&self) -> Result<()> {
        let marker = self.path(COPYING);
        let begun: Option<CopyMarker> = self.read_json(&marker).await?;
        if begun.is_none() && !self.is_empty().await? {
            return Err(Error::NotAStore {
                uri: self.uri.clone(),
            });
        }
        if self.local.is_none() {
            check_create_if_absent(self.objects(), &self.base, &self.uri).await?;
        }
        let begun = CopyMarker {
            program: program(),
            begun_at: Utc::now(),
        };
        self.create_json(&marker, &begun).await?;
        Ok(())
    }

    /// Makes a finished copy of the files of another place a store.
    pub async fn end_copy(&self, from: &Self) -> Result<()> {
        let Some(mut header) = from.read_header().await? else {
            return Err(Error::StoreGone {
                uri: from.uri.clone(),
            });
        };
        header.create_if_absent = self.local.is_none().then(|| PROBED.to_owned());
        self.create_json(&self.path(HEADER), &header).await?;
        self.delete(&self.path(COPYING)).await
    }

    /// Whether the place is empty, apart from what a creation that died can leave.
    pub async fn is_empty(&self) -> Result<bool> {
        let Some(local) = &self.local else {
            let mut objects = self.objects.inner.list(Some(&self.base));
            while let Some(object) = objects.try_next().await.map_err(|err| self.failed(err))? {
                let within = object.location.prefix_match(&self.base);
                let folder = within.and_then(|mut parts| parts.next());
                if folder.is_none_or(|folder| folder.as_ref() != probe::FOLDER) {
                    return Ok(false);
                }
            }
            return Ok(true);
        };
        match std::fs::read_dir(local) {
            Ok(entries) => {
                for entry in entries {
                    let entry = entry.map_err(Error::file(FileAction::List, local))?;
                    // A creation that died can leave its lock, and the header's staging file.
                    let name = entry.file_name();
                    let name = name.to_string_lossy();
                    if name != super::lock::FILE_NAME && !name.starts_with(HEADER) {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Err(err) if err.kind() == ErrorKind::NotFound => Ok(true),
            Err(err) => Err(Error::file(FileAction::Open, local)(err)),
        }
    }

    pub async fn read_header(&self) -> Result<Option<StoreHeader>> {
        self.read_json(&self.path(HEADER)).await
    }

    /// Writes the header, or reads the one of a process that was quicker. A bucket is probed first.
    ///
    /// # Errors
    /// [`Error::UnsafeBucket`] for a bucket in which a store would lose commits.
    pub async fn create_header(&self, options: StoreOptions) -> Result<StoreHeader> {
        if self.local.is_none() {
            check_create_if_absent(self.objects(), &self.base, &self.uri).await?;
        }
        let header = StoreHeader {
            format_version: FORMAT_VERSION,
            created_by: program(),
            created_at: Utc::now(),
            create_if_absent: self.local.is_none().then(|| PROBED.to_owned()),
            options,
        };
        if self.create_json(&self.path(HEADER), &header).await? {
            return Ok(header);
        }
        self.read_header()
            .await?
            .ok_or_else(|| Error::StoreDamaged {
                path: HEADER.to_owned(),
                reason: "it appeared and vanished".to_owned(),
            })
    }

    /// Raises the format in the header to today's, so that older programs refuse the store.
    pub async fn raise_header(&self) -> Result<()> {
        let Some(mut header) = self.read_header().await? else {
            return Ok(());
        };
        if header.format_version == FORMAT_VERSION {
            return Ok(());
        }
        header.format_version = FORMAT_VERSION;
        self.replace_header(&header).await
    }

    /// Makes sure that the store's bucket creates an object for one writer alone. The header says it of a store that was
    /// created there; of one that was copied there, writers race for it once.
    ///
    /// # Errors
    /// [`Error::UnsafeBucket`].
    pub async fn probe(&self) -> Result<()> {
        let probe = || async {
            let Some(mut header) = self.read_header().await? else {
                return Ok(()); // the store is gone, which the commit will find
            };
            if header.create_if_absent.is_none() {
                check_create_if_absent(self.objects(), &self.base, &self.uri).await?;
                header.create_if_absent = Some(PROBED.to_owned());
                self.replace_header(&header).await?;
            }
            Ok(())
        };
        self.is_probed.get_or_try_init(probe).await.copied()
    }

    /// Takes the word of the header for it that the bucket has been probed.
    pub fn probed(&self, header: &StoreHeader) {
        if header.create_if_absent.is_some() {
            // It may be set already.
            let _ = self.is_probed.set(());
        }
    }

    async fn replace_header(&self, header: &StoreHeader) -> Result<()> {
        let content = sealed(serde_json::to_vec_pretty(header)?);
        if let Some(local) = &self.local {
            let file = local.join(HEADER);
            return blocking(WRITING, move || replace_file(&file, &content)).await;
        }
        let replaced = self
            .objects
            .inner
            .put(&self.path(HEADER), PutPayload::from(content))
            .await;
        replaced.map_err(|err| self.failed(err))?;
        Ok(())
    }

    /// Versions of the commit records that exist, in order.
    pub async fn commit_versions(&self) -> Result<Vec<u64>> {
        let names = self.list(COMMITS).await?;
        let mut versions: Vec<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
        versions.sort_unstable();
        Ok(versions)
    }

    /// The newest record; in a bucket, only those after the newest that was seen are listed.
    pub async fn newest_commit(&self) -> Result<Option<CommitRecord>> {
        let known = self.newest_seen();
        let mut gone = None;
        while let Some(version) = self.newest_version(known.as_ref()).await? {
            if let Some(known) = known.as_ref().filter(|known| known.version == version) {
                return Ok(Some(known.clone()));
            }
            match self.read_commit(version).await? {
                // It may have expired since it was listed. A record that is listed a second time cannot be read.
                None if gone != Some(version) => gone = Some(version),
                found => {
                    self.saw(found.as_ref());
                    return Ok(found);
                }
            }
        }
        Ok(None)
    }

    async fn newest_version(&self, known: Option<&CommitRecord>) -> Result<Option<u64>> {
        let Some(known) = known else {
            return Ok(self.commit_versions().await?.last().copied());
        };
        let folder = self.path(COMMITS);
        // The known record is listed, too, so that a store that was removed is found.
        let before = self.commit_path(known.version.saturating_sub(1));
        let found = self.objects.inner.list_with_offset(Some(&folder), &before);
        let metas: Vec<_> = found.try_collect().await.map_err(|err| self.failed(err))?;
        Ok(metas.iter().filter_map(version_of).max())
    }

    fn newest_seen(&self) -> Option<CommitRecord> {
        if self.local.is_some() {
            return None;
        }
        let newest = self.newest.lock();
        newest.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn saw(&self, record: Option<&CommitRecord>) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let is_newer = |record: &&CommitRecord| {
            newest
                .as_ref()
                .is_none_or(|seen| seen.version < record.version)
        };
        if let Some(record) = record.filter(is_newer) {
            *newest = Some(record.clone());
        }
    }

    pub async fn read_commit(&self, version: u64) -> Result<Option<CommitRecord>> {
        self.read_json(&self.commit_path(version)).await
    }

    pub async fn has_commit(&self, version: u64) -> Result<bool> {
        let found = self.objects.inner.head(&self.commit_path(version)).await;
        match found {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(err) => Err(self.failed(err)),
        }
    }

    pub async fn commits(&self) -> Result<Vec<CommitRecord>> {
        let versions = self.commit_versions().await?;
        let records = stream::iter(versions).map(|version| self.read_commit(version));
        let records: Vec<Option<CommitRecord>> = records.buffered(AT_ONCE).try_collect().await?;
        // A record may expire while the others are read.
        Ok(records.into_iter().flatten().collect())
    }

    /// Puts a record, unless one of that version exists; returns whether it did.
    pub async fn put_commit(&self, record: &CommitRecord) -> Result<bool> {
        let path = self.commit_path(record.version);
        let is_put = match self.create_json(&path, record).await {
            Ok(is_put) => is_put || self.is_ours(record).await?,
            // The record may be there although no answer came.
            Err(err) => match self.is_ours(record).await {
                Ok(true) => true,
                _ => return Err(err),
            },
        };
        if is_put {
            self.saw(Some(record));
        }
        Ok(is_put)
    }

    /// Whether the record of that version is this one: the answer to its first put can have been lost on the way.
    async fn is_ours(&self, record: &CommitRecord) -> Result<bool> {
        if self.local.is_some() {
            return Ok(false);
        }
        let found = self.read_commit(record.version).await?;
        Ok(found.is_some_and(|found| found.writer == record.writer))
    }

    pub async fn delete_commit(&self, version: u64) -> Result<()> {
        self.delete(&self.commit_path(version)).await
    }

    pub async fn read_tag(&self, tag: &str) -> Result<Option<Tag>> {
        self.read_json(&self.tag_path(tag)).await
    }

    pub async fn has_tag(&self, tag: &str) -> Result<bool> {
        Ok(self.list(TAGS).await?.iter().any(|name| name == tag))
    }

    pub async fn tags(&self) -> Result<Vec<Tag>> {
        let mut names = self.list(TAGS).await?;
        names.sort_unstable();
        let mut tags = Vec::new();
        for name in names {
            tags.extend(self.read_tag(&name).await?);
        }
        Ok(tags)
    }

    /// Puts a tag, unless one of that name exists; returns whether it did.
    pub async fn put_tag(&self, tag: &Tag) -> Result<bool> {
        self.create_json(&self.tag_path(&tag.tag), tag).await
    }

    pub async fn delete_tag(&self, tag: &str) -> Result<()> {
        self.delete(&self.tag_path(tag)).await
    }

    /// An error of the object store, in the words of whoever named the bucket.
    pub fn failed(&self, err: object_store::Error) -> Error {
        if self.local.is_some() {
            return lance::Error::from(err).into();
        }
        let text = err.to_string();
        let reason = match err {
            object_store::Error::PermissionDenied { .. }
            | object_store::Error::Unauthenticated { .. } => {
                format!("access was denied; look at the keys in the environment: {text}")
            }
            _ if text.contains("NoSuchBucket") => "there is no such bucket".to_owned(),
            _ => text,
        };
        Error::Location {
            uri: self.uri.clone(),
            reason,
        }
    }

    /// Size and checksum of a file, by its path within the store; `None` if there is no such file.
    pub async fn checksum(&self, path: &str) -> Result<Option<Checksum>> {
        if let Some(local) = &self.local {
            let file = local.join(path);
            return blocking("taking checksums", move || checksums::of_file(&file)).await;
        }
        match self.objects.inner.get(&self.object(path)).await {
            Ok(found) => Ok(Some(checksums::of_stream(found).await?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(err) => Err(self.failed(err)),
        }
    }

    /// Fsyncs files of a local store, and their directories up to the store's own.
    pub async fn sync(&self, paths: Vec<String>) -> Result<()> {
        let Some(local) = self.local.clone() else {
            return Ok(());
        };
        blocking(WRITING, move || {
            let mut directories = BTreeSet::new();
            for path in paths {
                let path = local.join(path);
                sync_file(&path)?;
                let parent = path.parent().unwrap_or(&path);
                directories.extend(up_to(&local, parent).map(FsPath::to_owned));
            }
            directories
                .iter()
                .try_for_each(|directory| sync_directory(directory))
        })
        .await
    }

    pub async fn read_checksums(&self, name: &str) -> Result<Option<Checksums>> {
        self.read_json(&self.checksums_path(name)).await
    }

    /// Writes checksums to a file with a unique name, and returns that name: a writer that loses the race for a version
    /// must not replace the winner's file.
    pub async fn write_checksums(&self, version: u64, checksums: &Checksums) -> Result<String> {
        let name = format!("{version:010}-{}", nonce());
        self.create_json(&self.checksums_path(&name), checksums)
            .await?;
        Ok(name)
    }

    /// Removes the versions of a table after `version`. No commit may name them, and the caller must hold the lock of a
    /// local store, so that nobody is writing one of them. Returns false for stores without a lock.
    pub async fn remove_versions_after(&self, table: &StoreTable, version: u64) -> Result<bool> {
        let Some(local) = &self.local else {
            return Ok(false);
        };
        let directory = local.join(format!("{}.lance/_versions", table.path()));
        let entries =
            fs::read_dir(&directory).map_err(Error::file(FileAction::List, &directory))?;
        for entry in entries {
            let path = entry
                .map_err(Error::file(FileAction::List, &directory))?
                .path();
            let number = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse().ok());
            // Lance numbers these files downwards, so that the newest comes first; it once counted upwards.
            let number = number.map(|number: u64| number.min(u64::MAX - number));
            if number.is_none_or(|number| number > version) {
                fs::remove_file(&path).map_err(Error::file(FileAction::Remove, &path))?;
            }
        }
        Ok(true)
    }

    /// Removes checksum files that are not in `named`. In stores without a lock, removes only those last modified
    /// before `before`.
    pub async fn remove_checksums_but(
        &self,
        named: &HashSet<String>,
        before: DateTime<Utc>,
    ) -> Result<()> {
        let found = self.objects.inner.list(Some(&self.path(CHECKSUMS)));
        let metas: Vec<_> = found.try_collect().await.map_err(|err| self.failed(err))?;
        for meta in metas {
            let name = meta.location.filename().unwrap_or_default();
            let is_named = name
                .strip_suffix(".json")
                .is_some_and(|it| named.contains(it));
            if !is_named && (self.local.is_some() || meta.last_modified < before) {
                self.delete(&meta.location).await?;
            }
        }
        Ok(())
    }

    /// The datasets of vectors that are there, each with its files.
    pub async fn vector_tables(&self) -> Result<BTreeMap<StoreTable, Vec<ObjectMeta>>> {
        let mut found: BTreeMap<StoreTable, Vec<ObjectMeta>> = BTreeMap::new();
        for folder in VectorTable::ALL.map(VectorTable::name) {
            let objects = self.objects.inner.list(Some(&self.path(folder)));
            let metas: Vec<_> = objects
                .try_collect()
                .await
                .map_err(|err| self.failed(err))?;
            for meta in metas {
                let within = meta.location.prefix_match(&self.base).into_iter().flatten();
                let dataset = within.skip(1).map(|part| part.as_ref().to_owned()).next();
                let id = dataset
                    .as_deref()
                    .and_then(|name| name.strip_suffix(".lance"));
                let table = id.and_then(|id| StoreTable::from_path(&format!("{folder}/{id}")));
                if let Some(table) = table {
                    found.entry(table).or_default().push(meta);
                }
            }
        }
        Ok(found)
    }

    /// Removes the files of a table: of an object store the given ones, of a local store all, for which the caller holds
    /// the lock. No commit may name the table. Returns the size of the given files in bytes.
    pub async fn remove_table(
        &self,
        table: &StoreTable,
        files: Option<&[ObjectMeta]>,
    ) -> Result<u64> {
        let files = files.unwrap_or_default();
        if let Some(local) = &self.local {
            let folder = local.join(format!("{}.lance", table.path()));
            if folder.exists() {
                let removed = fs::remove_dir_all(&folder);
                removed.map_err(Error::file(FileAction::Remove, &folder))?;
            }
        } else {
            for meta in files {
                self.delete(&meta.location).await?;
            }
        }
        Ok(files.iter().map(|meta| meta.size).sum())
    }

    fn path(&self, name: &str) -> Path {
        self.base.clone().join(name)
    }

    fn checksums_path(&self, name: &str) -> Path {
        self.path(CHECKSUMS).join(format!("{name}.json"))
    }

    fn commit_path(&self, version: u64) -> Path {
        self.path(COMMITS).join(format!("{version:010}.json"))
    }

    fn tag_path(&self, tag: &str) -> Path {
        self.path(TAGS).join(format!("{tag}.json"))
    }

    /// Creates a JSON object by the parts of its path, without `.json`; returns false if it exists already.
    pub async fn create_object<T: Serialize>(&self, path: &[&str], value: &T) -> Result<bool> {
        self.create_json(&self.object_path(path), value).await
    }

    pub async fn read_object<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Option<T>> {
        self.read_json(&self.object_path(path)).await
    }

    pub async fn remove_object(&self, path: &[&str]) -> Result<()> {
        self.delete(&self.object_path(path)).await
    }

    /// Names, without `.json`, of the objects in a folder, each with the time at which it was written.
    pub async fn list_objects(&self, folder: &[&str]) -> Result<Vec<(String, DateTime<Utc>)>> {
        let folder = self.object(&folder.join("/"));
        let found = self.objects.inner.list(Some(&folder));
        let metas: Vec<_> = found.try_collect().await.map_err(|err| self.failed(err))?;
        let named = metas.iter().filter_map(|meta| {
            let name = meta.location.filename()?.strip_suffix(".json")?;
            Some((name.to_owned(), meta.last_modified))
        });
        Ok(named.collect())
    }

    /// Removes what lies in some folders of the store and was last modified before `before`.
    pub async fn remove_older(&self, folders: &[&str], before: DateTime<Utc>) -> Result<()> {
        for folder in folders {
            let found = self.objects.inner.list(Some(&self.path(folder)));
            let metas: Vec<_> = found.try_collect().await.map_err(|err| self.failed(err))?;
            for meta in metas.iter().filter(|meta| meta.last_modified < before) {
                self.delete(&meta.location).await?;
            }
        }
        Ok(())
    }

    fn object_path(&self, path: &[&str]) -> Path {
        self.object(&format!("{}.json", path.join("/")))
    }

    /// Names, without `.json`, of the files in a folder of the store.
    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        let listed = self.list_objects(&[folder]).await?;
        Ok(listed.into_iter().map(|(name, _)| name).collect())
    }

    async fn read_json<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>> {
        let found = match self.objects.inner.get(path).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(err) => return Err(self.failed(err)),
        };
        let bytes = found.bytes().await.map_err(|err| self.failed(err))?;
        let damaged = |reason| Error::StoreDamaged {
            path: path.to_string(),
            reason,
        };
        check_seal(&bytes).map_err(|reason| damaged(reason.to_owned()))?;
        let value = serde_json::from_slice(&bytes).map_err(|err| damaged(err.to_string()))?;
        Ok(Some(value))
    }

    /// Creates a file; returns false if it exists already. On local stores it is on the disk before it gets its name.
    async fn create_json<T: Serialize>(&self, path: &Path, value: &T) -> Result<bool> {
        let content = sealed(serde_json::to_vec_pretty(value)?);
        if let Some(local) = &self.local {
            let within = path.prefix_match(&self.base).into_iter().flatten();
            let file = within.fold(local.clone(), |path, part| path.join(part.as_ref()));
            let store = local.clone();
            return blocking(WRITING, move || create_file(&store, &file, &content)).await;
        }
        let payload = PutPayload::from(content);
        let create = PutOptions::from(PutMode::Create);
        match self.objects.inner.put_opts(path, payload, create).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(err) => Err(self.failed(err)),
        }
    }

    /// Takes the checksum of a file that is known without reading it: taken while it left for a bucket, or given by
    /// [`StoreFiles::know_checksums`].
    pub fn known_checksum(&self, path: &str) -> Option<Checksum> {
        self.meter.take_sum(&self.object(path))
    }

    /// Keeps the checksums of files that were taken when they were written, by path within the store.
    pub fn know_checksums(&self, sums: &BTreeMap<String, Checksum>) {
        for (path, sum) in sums {
            self.meter.keep_sum(self.object(path), sum.clone());
        }
    }

    /// The object of a path within the store.
    pub fn object(&self, path: &str) -> Path {
        path.split('/').fold(self.base.clone(), Path::join)
    }

    async fn delete(&self, path: &Path) -> Result<()> {
        match self.objects.inner.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(err) => Err(self.failed(err)),
        }
    }
}

/// With what Lance opens a store. Nothing is metered in a directory: its files are read for their checksums while they are in
/// the system's cache.
fn params_of(is_local: bool, of_buckets: &ObjectStoreParams) -> ObjectStoreParams {
    if is_local {
        ObjectStoreParams::default()
    } else {
        of_buckets.clone()
    }
}

/// With what Lance opens what lies in a bucket.
fn metered(options: &StorageOptions, meter: &Arc<Meter>) -> ObjectStoreParams {
    let values = options.iter();
    let values: HashMap<String, String> = values.map(|(k, v)| (k.clone(), v.clone())).collect();
    let accessor = StorageOptionsAccessor::with_static_options(values);
    ObjectStoreParams {
        object_store_wrapper: Some(Arc::new(Metering(meter.clone()))),
        storage_options_accessor: (!options.is_empty()).then(|| Arc::new(accessor)),
        ..Default::default()
    }
}

fn version_of(meta: &ObjectMeta) -> Option<u64> {
    meta.location
        .filename()?
        .strip_suffix(".json")?
        .parse()
        .ok()
}

/// Records that are read at the same time.
const AT_ONCE: usize = 16;

pub(super) const HEADER: &str = "grainstore.json";
pub(super) const COMMITS: &str = "commits";
/// What a copy that is not finished holds.
pub(super) const COPYING: &str = "copying.json";
const TAGS: &str = "tags";
const CHECKSUMS: &str = "checksums";

/// What a worker thread does, for its errors.
const WRITING: &str = "writing to the disk";

#[cfg(test)]
mod tests {
    use super::*;

    async fn bucket(name: &str) -> StoreFiles {
        let uri = format!("shared-memory://grainstore-unit/{name}");
        let connected = StoreFiles::connect(&uri, &StorageOptions::new()).await;
        connected.unwrap()
    }

    #[tokio::test]
    async fn a_record_whose_answer_was_lost_is_known_by_its_writer() {
        let files = bucket("answer").await;
        let record = CommitRecord::first();
        assert!(files.put_commit(&record).await.unwrap());
        // The client heard nothing and puts it again.
        assert!(files.put_commit(&record).await.unwrap());
        // Another's, alike but for its writer.
        let other = CommitRecord {
            writer: Some(nonce()),
            ..record.clone()
        };
        assert!(!files.put_commit(&other).await.unwrap());
        assert_eq!(files.newest_commit().await.unwrap(), Some(record));
    }

    #[tokio::test]
    async fn the_newest_record_of_a_bucket_is_found_from_the_one_seen_before() {
        let (ours, theirs) = (bucket("newest").await, bucket("newest").await);
        let first = CommitRecord::first();
        ours.put_commit(&first).await.unwrap();
        assert_eq!(theirs.newest_commit().await.unwrap(), Some(first.clone()));
        let second = first.next("second");
        ours.put_commit(&second).await.unwrap();
        let third = second.next("third");
        theirs.put_commit(&third).await.unwrap();
        assert_eq!(ours.newest_commit().await.unwrap(), Some(third.clone()));
        // The first two expire; then the store is removed.
        for version in [1, 2] {
            ours.delete_commit(version).await.unwrap();
        }
        assert_eq!(ours.newest_commit().await.unwrap(), Some(third));
        ours.delete_commit(3).await.unwrap();
        assert_eq!(ours.newest_commit().await.unwrap(), None);
    }
}
