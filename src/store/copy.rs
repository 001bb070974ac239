//! A copy of a whole store, with its history, in another place: up to a bucket, or down to a disk.
//!
//! The header is written last, so what is not yet whole is no store. A copy that was interrupted goes on: files that are there
//! already, with the right bytes, are left alone.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStoreExt, WriteMultipart};
use serde::Serialize;

use super::files::{COMMITS, COPYING, HEADER, StoreFiles};
use super::journal::JOURNALS;
use super::location::StorageOptions;
use super::shared::SHARED;
use super::staging::{JOBS, STAGING};
use super::sums::{Checksum, Summing};
use super::{Store, lock, probe};
use crate::progress::Progress;
use crate::{Error, Result};

/// Folders that only concern a place: what is there is of processes that write to the store, and not of its content.
const OF_THIS_PLACE: [&str; 5] = [probe::FOLDER, JOURNALS, STAGING, JOBS, SHARED];

/// Files that are copied at the same time.
const AT_ONCE: usize = 8;

/// What a copy did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CopySummary {
    /// Files of the store.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Files that an earlier, interrupted copy had left.
    pub files_there: u64,
}

/// A file of the store, by its path within it.
struct Found {
    path: String,
    bytes: u64,
}

impl Store {
    /// Copies the store, with every commit and tag, to an empty place. Each file that has a checksum is compared with it on
    /// the way.
    ///
    /// Others may go on writing to the store: the copy has the commits that were there when it began. An interrupted copy
    /// goes on when it is started again.
    ///
    /// # Errors
    /// [`Error::StoreExists`] if there is a store already; [`Error::StoreDamaged`] for a file that is not as it was written;
    /// [`Error::UnsafeBucket`]; errors of both places.
    pub async fn copy_to(
        &self,
        uri: &str,
        storage: &StorageOptions,
        progress: &dyn Progress,
    ) -> Result<CopySummary> {
        let from = &self.inner.files;
        let to = StoreFiles::connect(uri, storage).await?;
        if to.read_header().await?.is_some() {
            return Err(Error::StoreExists {
                uri: to.uri().to_owned(),
            });
        }
        to.begin_copy().await?;
        let records = from.commits().await?;
        let newest = records.iter().map(|record| record.version).max();
        // Records name the checksum files of those before them, too.
        let named = records.iter().flat_map(|record| &record.checksums);
        let named: BTreeSet<&String> = named.collect();
        let named: Vec<String> = named.into_iter().cloned().collect();
        let (sums, damaged) = from.checksums(&named).await?;
        if let Some(damaged) = damaged.into_iter().next() {
            return Err(damaged.into());
        }
        // Records come after the files that they name.
        let (commits, files): (Vec<Found>, Vec<Found>) = from
            .found()
            .await?
            .into_iter()
            .partition(|file| file.path.starts_with(&format!("{COMMITS}/")));
        let is_old = |file: &Found| {
            let version = file.path.rsplit('/').next();
            let version = version.and_then(|name| name.strip_suffix(".json")?.parse().ok());
            version.is_some_and(|version: u64| Some(version) <= newest)
        };
        let commits: Vec<Found> = commits.into_iter().filter(is_old).collect();
        progress.start("files", Some((files.len() + commits.len()) as u64));
        let mut summary = CopySummary::default();
        for part in [files, commits] {
            let mut copied = futures::stream::iter(part)
                .map(|file| {
                    let sum = sums.get(&file.path);
                    let to = &to;
                    async move {
                        let is_there = from.copy(&file, sum, to).await?;
                        Ok::<_, Error>((file, is_there))
                    }
                })
                .buffered(AT_ONCE);
            let mut paths = Vec::new();
            while let Some((file, is_there)) = copied.try_next().await? {
                summary.files += 1;
                summary.bytes += file.bytes;
                summary.files_there += u64::from(is_there);
                paths.push(file.path);
                progress.advance(1);
            }
            drop(copied);
            to.sync(paths).await?;
        }
        progress.finish();
        to.end_copy(from).await?;
        Ok(summary)
    }
}

impl StoreFiles {
    /// Every file of the store but its header and what only concerns this machine.
    async fn found(&self) -> Result<Vec<Found>> {
        let listed = self.objects().list(Some(self.base()));
        let metas: Vec<ObjectMeta> = listed.try_collect().await.map_err(|err| self.failed(err))?;
        let found = metas.iter().filter_map(|meta| {
            let parts = meta.location.prefix_match(self.base())?;
            let parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
            let is_left_out = match &parts[..] {
                [file] => [HEADER, COPYING, lock::FILE_NAME].contains(&file.as_str()),
                [folder, ..] => OF_THIS_PLACE.contains(&folder.as_str()),
                [] => true,
            };
            (!is_left_out).then(|| Found {
                path: parts.join("/"),
                bytes: meta.size,
            })
        });
        Ok(found.collect())
    }

    /// Copies one file, unless it is there already; returns whether it was.
    async fn copy(&self, file: &Found, sum: Option<&Checksum>, to: &Self) -> Result<bool> {
        if to.has(file, sum).await? {
            return Ok(true);
        }
        let found = self.objects().get(&self.object(&file.path)).await;
        let mut chunks = found.map_err(|err| self.failed(err))?.into_stream();
        let upload = to.objects().put_multipart(&to.object(&file.path)).await;
        let mut upload = WriteMultipart::new(upload.map_err(|err| to.failed(err))?);
        let mut copied = Summing::default();
        while let Some(chunk) = chunks.try_next().await.map_err(|err| self.failed(err))? {
            copied.add(&chunk);
            let room = upload.wait_for_capacity(AT_ONCE).await;
            room.map_err(|err| to.failed(err))?;
            upload.write(&chunk);
        }
        let copied = copied.end();
        if sum.is_some_and(|sum| *sum != copied) {
            let _ = upload.abort().await;
            return Err(Error::StoreDamaged {
                path: file.path.clone(),
                reason: "its content has changed since it was written; restore it from a backup"
                    .to_owned(),
            });
        }
        upload.finish().await.map_err(|err| to.failed(err))?;
        Ok(false)
    }

    /// Whether a file is there with the right bytes.
    async fn has(&self, file: &Found, sum: Option<&Checksum>) -> Result<bool> {
        match self.objects().head(&self.object(&file.path)).await {
            Ok(meta) if meta.size != file.bytes => Ok(false),
            Ok(_) => match sum {
                Some(sum) => Ok(self.checksum(&file.path).await?.as_ref() == Some(sum)),
                // Small files of the store's own are written again.
                None => Ok(false),
            },
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(err) => Err(self.failed(err)),
        }
    }
}
