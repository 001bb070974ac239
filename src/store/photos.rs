//! Photos, and files that come with them, where they lie: in directories of this machine or in buckets.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path as FsPath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use lance::io::{ObjectStore, ObjectStoreParams, ObjectStoreRegistry};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use tokio::runtime::Handle;

use super::location::Location;
use crate::error::FileAction;
use crate::ids::ImageId;
use crate::{Error, Result};

/// Reads files of any place, with the credentials and options of the store's own bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PhotoFiles {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Arc<ObjectStoreRegistry>,
    params: ObjectStoreParams,
    buckets: Mutex<HashMap<String, Bucket>>,
    /// Where requests run while a thread waits for their answers.
    runtime: Option<Handle>,
}

/// A prefix of a bucket.
#[derive(Debug, Clone)]
struct Bucket {
    objects: Arc<ObjectStore>,
    base: Path,
}

/// A file below a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// Name relative to the root, with `/` as separator.
    pub file_name: String,
    /// Size in bytes.
    pub bytes: u64,
}

impl PhotoFiles {
    /// Reads as a store does that was opened with `params`.
    pub(super) fn new(registry: Arc<ObjectStoreRegistry>, params: ObjectStoreParams) -> Self {
        Self {
            inner: Arc::new(Inner {
                registry,
                params,
                buckets: Mutex::default(),
                runtime: Handle::try_current().ok(),
            }),
        }
    }

    /// Reads a file below a root in a bucket. It blocks; a thread of a runtime with several may call it.
    ///
    /// # Errors
    /// [`Error::PhotoGone`] if there is no such file; [`Error::Content`] if it is larger than `most` bytes; errors of the
    /// bucket.
    pub fn read(&self, root: &str, file_name: &str, most: u64) -> Result<Vec<u8>> {
        let runtime = self.inner.runtime.as_ref().ok_or(Error::Internal {
            what: "photos of a bucket are read outside a runtime",
        })?;
        tokio::task::block_in_place(|| runtime.block_on(self.get(root, file_name, most)))
    }

    /// Reads the file of an image, which must be the one that was ingested; its root is a directory or the URI of a bucket. It
    /// blocks as [`PhotoFiles::read`].
    ///
    /// # Errors
    /// [`Error::PhotoGone`] if there is no such file; [`Error::Content`] if it is no longer the same; errors from the file
    /// system or the bucket.
    pub fn read_ingested(&self, root: &str, file_name: &str, id: &ImageId) -> Result<Vec<u8>> {
        let place = place_in(root, file_name);
        let bytes = if Location::is_bucket(root) {
            self.read(root, file_name, u64::MAX)?
        } else {
            std::fs::read(&place).map_err(|err| match err.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => Error::PhotoGone {
                    path: place.clone(),
                },
                _ => Error::file(FileAction::Read, &place)(err),
            })?
        };
        if ImageId::of_bytes(&bytes) == *id {
            return Ok(bytes);
        }
        Err(Error::Content {
            path: place,
            place: String::new(),
            reason: "the file is not the one that was ingested; ingest it again".to_owned(),
        })
    }

    async fn get(&self, root: &str, file_name: &str, most: u64) -> Result<Vec<u8>> {
        let bucket = self.bucket(root).await?;
        let place = place_in(root, file_name);
        let failed = |err: object_store::Error| match err {
            object_store::Error::NotFound { .. } => Error::PhotoGone {
                path: place.clone(),
            },
            err => Error::file(FileAction::Read, &place)(std::io::Error::other(err)),
        };
        let object = bucket.object(file_name).map_err(failed)?;
        let found = bucket.objects.inner.get(&object).await.map_err(failed)?;
        check_size(&place, found.meta.size, most)?;
        Ok(found.bytes().await.map_err(failed)?.to_vec())
    }

    /// Every file below a root in a bucket, in the order in which it lists them.
    ///
    /// # Errors
    /// [`Error::Location`]; errors of the bucket, also later, by the stream.
    pub async fn list(&self, root: &str) -> Result<BoxStream<'static, Result<ListedFile>>> {
        let bucket = self.bucket(root).await?;
        let (root, base) = (root.to_owned(), bucket.base.clone());
        let objects = bucket.objects.inner.list(Some(&bucket.base));
        let listed = objects
            .map_err(move |err| Error::file(FileAction::List, &root)(std::io::Error::other(err)));
        let files = listed.map_ok(move |meta| {
            let parts = meta.location.prefix_match(&base).into_iter().flatten();
            let parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
            ListedFile {
                file_name: parts.join("/"),
                bytes: meta.size,
            }
        });
        // What is itself called like the root is not below it.
        Ok(files
            .try_filter(|file| std::future::ready(!file.file_name.is_empty()))
            .boxed())
    }

    async fn bucket(&self, root: &str) -> Result<Bucket> {
        let known = |buckets: &HashMap<String, Bucket>| buckets.get(root).cloned();
        let lock = || {
            self.inner
                .buckets
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(bucket) = known(&lock()) {
            return Ok(bucket);
        }
        let Location::Bucket(uri) = Location::parse(root)? else {
            return Err(Error::Internal {
                what: "a directory is read as a bucket",
            });
        };
        let (registry, params) = (self.inner.registry.clone(), &self.inner.params);
        let (objects, base) = ObjectStore::from_uri_and_params(registry, &uri, params).await?;
        let bucket = Bucket { objects, base };
        lock().insert(root.to_owned(), bucket.clone());
        Ok(bucket)
    }
}

impl Bucket {
    fn object(&self, file_name: &str) -> Result<Path, object_store::Error> {
        Ok(Path::parse(format!("{}/{file_name}", self.base))?)
    }
}

/// Where a file below a root lies, as a person would write it.
fn place_in(root: &str, file_name: &str) -> PathBuf {
    FsPath::new(root).join(file_name)
}

/// Checks that a file has at most so many bytes: several are in memory at once.
///
/// # Errors
/// [`Error::Content`].
pub(crate) fn check_size(path: &FsPath, bytes: u64, most: u64) -> Result<()> {
    if bytes <= most {
        return Ok(());
    }
    Err(Error::Content {
        path: path.to_owned(),
        place: String::new(),
        reason: format!("its {bytes} bytes are over the limit of {most}"),
    })
}
