//! The store's own small JSON files: header, commit records, tags.
//!
//! All go through Lance's object-store layer, so a store can live wherever Lance can.

use std::collections::BTreeMap;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use lance::io::{ObjectStore, ObjectStoreParams, ObjectStoreRegistry};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::schema::EmbeddingType;
use crate::{Error, Result};

/// Version of the layout described in [`crate::store`]. Raised when older programs could no longer
/// read a store rightly.
pub(super) const FORMAT_VERSION: u32 = 1;

/// What is chosen when a store is created, and never changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StoreOptions {
    /// Type of the embeddings.
    pub embedding: EmbeddingType,
}

/// `grainstore.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoreHeader {
    pub format_version: u32,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    #[serde(flatten)]
    pub options: StoreOptions,
}

/// One commit: which version of every table belongs together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRecord {
    /// 1, 2, ...: the store's version.
    pub version: u64,
    /// What was done: `ingest images`, `compact`, ...
    pub operation: String,
    /// When, by the writer's clock.
    pub committed_at: DateTime<Utc>,
    /// Program that wrote it.
    pub program: String,
    /// Rows appended, by table.
    pub rows: BTreeMap<String, u64>,
    /// Lance version of every table.
    pub tables: BTreeMap<String, u64>,
}

impl CommitRecord {
    pub(super) fn first() -> Self {
        Self {
            version: 1,
            operation: "create".to_owned(),
            committed_at: Utc::now(),
            program: program(),
            rows: BTreeMap::new(),
            tables: BTreeMap::new(),
        }
    }

    /// The record of a commit that follows this one and leaves every table as it is, so far.
    pub(super) fn next(&self, operation: &str) -> Self {
        Self {
            version: self.version + 1,
            operation: operation.to_owned(),
            committed_at: Utc::now(),
            program: program(),
            rows: BTreeMap::new(),
            tables: self.tables.clone(),
        }
    }
}

/// A commit with a name. Tagged commits are never cleaned up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// The name.
    pub tag: String,
    /// Version of the store it names.
    pub version: u64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

fn program() -> String {
    concat!("grainstore ", env!("CARGO_PKG_VERSION")).to_owned()
}

/// The place a store lives in.
#[derive(Debug)]
pub(super) struct StoreFiles {
    objects: Arc<ObjectStore>,
    registry: Arc<ObjectStoreRegistry>,
    base: Path,
    /// The directory, if the store is one on this machine.
    local: Option<PathBuf>,
}

impl StoreFiles {
    /// Resolves `uri` and connects to it; nothing is created. Returns the URI made absolute.
    pub async fn connect(uri: &str) -> Result<(String, Self)> {
        let local = match uri.split_once("://") {
            None => Some(FsPath::new(uri)),
            Some(("file", path)) => Some(FsPath::new(path)),
            Some(_) => None,
        };
        let local = local
            .map(|path| std::path::absolute(path).map_err(Error::file("resolve", path)))
            .transpose()?;
        let uri = match &local {
            Some(path) => path
                .to_str()
                .map(str::to_owned)
                .ok_or_else(|| Error::Content {
                    path: path.clone(),
                    place: String::new(),
                    reason: "a store's path must be valid UTF-8".to_owned(),
                })?,
            None => uri.to_owned(),
        };
        let registry = Arc::new(ObjectStoreRegistry::default());
        let (objects, base) =
            ObjectStore::from_uri_and_params(registry.clone(), &uri, &ObjectStoreParams::default())
                .await?;
        Ok((
            uri,
            Self {
                objects,
                registry,
                base,
                local,
            },
        ))
    }

    pub fn registry(&self) -> Arc<ObjectStoreRegistry> {
        self.registry.clone()
    }

    pub fn local_path(&self) -> Option<PathBuf> {
        self.local.clone()
    }

    /// Whether nothing lies at the place, a lock left by a creation that died aside.
    pub async fn is_empty(&self) -> Result<bool> {
        let Some(local) = &self.local else {
            let first = self.objects.inner.list(Some(&self.base)).try_next().await;
            return Ok(first.map_err(lance::Error::from)?.is_none());
        };
        match std::fs::read_dir(local) {
            Ok(entries) => {
                for entry in entries {
                    let entry = entry.map_err(Error::file("list", local))?;
                    // A creation that died can leave its lock, and the header's staging file.
                    let name = entry.file_name();
                    let name = name.to_string_lossy();
                    if name != super::lock::FILE_NAME && !name.starts_with(HEADER) {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(true),
            Err(err) => Err(Error::file("open", local)(err)),
        }
    }

    pub async fn read_header(&self) -> Result<Option<StoreHeader>> {
        self.read_json(&self.path(HEADER)).await
    }

    /// Writes the header, or reads that of a process which was quicker.
    pub async fn create_header(&self, options: StoreOptions) -> Result<StoreHeader> {
        let header = StoreHeader {
            format_version: FORMAT_VERSION,
            created_by: program(),
            created_at: Utc::now(),
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

    /// Numbers of the commit records there are, in order.
    pub async fn commit_versions(&self) -> Result<Vec<u64>> {
        let names = self.list(COMMITS).await?;
        let mut versions: Vec<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
        versions.sort_unstable();
        Ok(versions)
    }

    pub async fn newest_commit(&self) -> Result<Option<CommitRecord>> {
        match self.commit_versions().await?.last() {
            Some(&version) => self.read_commit(version).await,
            None => Ok(None),
        }
    }

    pub async fn read_commit(&self, version: u64) -> Result<Option<CommitRecord>> {
        self.read_json(&self.commit_path(version)).await
    }

    pub async fn commits(&self) -> Result<Vec<CommitRecord>> {
        let mut records = Vec::new();
        for version in self.commit_versions().await? {
            // A record may be cleaned up while the list is read.
            records.extend(self.read_commit(version).await?);
        }
        Ok(records)
    }

    /// Puts a record, unless one of that version exists; says whether it did.
    pub async fn put_commit(&self, record: &CommitRecord) -> Result<bool> {
        self.create_json(&self.commit_path(record.version), record)
            .await
    }

    pub async fn delete_commit(&self, version: u64) -> Result<()> {
        self.delete(&self.commit_path(version)).await
    }

    pub async fn read_tag(&self, tag: &str) -> Result<Option<Tag>> {
        self.read_json(&self.tag_path(tag)).await
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

    /// Puts a tag, unless one of that name exists; says whether it did.
    pub async fn put_tag(&self, tag: &Tag) -> Result<bool> {
        self.create_json(&self.tag_path(&tag.tag), tag).await
    }

    pub async fn delete_tag(&self, tag: &str) -> Result<()> {
        self.delete(&self.tag_path(tag)).await
    }

    fn path(&self, name: &str) -> Path {
        self.base.clone().join(name)
    }

    fn commit_path(&self, version: u64) -> Path {
        self.path(COMMITS).join(format!("{version:010}.json"))
    }

    fn tag_path(&self, tag: &str) -> Path {
        self.path(TAGS).join(format!("{tag}.json"))
    }

    /// Names, without `.json`, of the files in a folder of the store.
    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        let found = self.objects.inner.list(Some(&self.path(folder)));
        let metas: Vec<_> = found.try_collect().await.map_err(lance::Error::from)?;
        Ok(metas
            .iter()
            .filter_map(|meta| meta.location.filename()?.strip_suffix(".json"))
            .map(str::to_owned)
            .collect())
    }

    async fn read_json<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>> {
        let found = match self.objects.inner.get(path).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(err) => return Err(lance::Error::from(err).into()),
        };
        let bytes = found.bytes().await.map_err(lance::Error::from)?;
        let value = serde_json::from_slice(&bytes).map_err(|err| Error::StoreDamaged {
            path: path.to_string(),
            reason: err.to_string(),
        })?;
        Ok(Some(value))
    }

    /// Writes a file that must not exist yet; false if it does.
    async fn create_json<T: Serialize>(&self, path: &Path, value: &T) -> Result<bool> {
        let payload = PutPayload::from(serde_json::to_vec_pretty(value)?);
        let create = PutOptions::from(PutMode::Create);
        match self.objects.inner.put_opts(path, payload, create).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(err) => Err(lance::Error::from(err).into()),
        }
    }

    async fn delete(&self, path: &Path) -> Result<()> {
        match self.objects.inner.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(err) => Err(lance::Error::from(err).into()),
        }
    }
}

const HEADER: &str = "grainstore.json";
const COMMITS: &str = "commits";
const TAGS: &str = "tags";
