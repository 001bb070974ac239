//! Files that workers need and that only one machine has at first, such as a checkpoint: kept beside the tables, by their content.

use std::path::{Path, PathBuf};

use futures::TryStreamExt;
use object_store::{ObjectStoreExt, WriteMultipart};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Store;
use super::files::StoreFiles;
use crate::error::FileAction;
use crate::{Error, Result};

/// Folder of the files within a store.
pub(super) const SHARED: &str = "checkpoints";
/// Parts of an upload that are under way at the same time.
const PARTS: usize = 8;
/// Bytes that are read from a file at once.
const CHUNK: usize = 8 << 20;

impl Store {
    /// Puts a file into a folder that is named for its content, unless one of its size is there.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read; errors from the bucket.
    pub(crate) async fn share_file(&self, folder: &str, file: &Path) -> Result<()> {
        let files = &self.inner.files;
        let name = name_of(file)?;
        let size = std::fs::metadata(file).map_err(Error::file(FileAction::Read, file))?;
        let object = files.object(&format!("{SHARED}/{folder}/{name}"));
        match files.objects().head(&object).await {
            Ok(found) if found.size == size.len() => return Ok(()),
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(err) => return Err(files.failed(err)),
        }
        let failed = |err| files.failed(err);
        let upload = files.objects().put_multipart(&object).await;
        let mut upload = WriteMultipart::new(upload.map_err(failed)?);
        let opened = tokio::fs::File::open(file).await;
        let mut opened = opened.map_err(Error::file(FileAction::Read, file))?;
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = opened.read(&mut chunk).await;
            match read.map_err(Error::file(FileAction::Read, file))? {
                0 => break,
                read => {
                    upload.wait_for_capacity(PARTS).await.map_err(failed)?;
                    upload.write(chunk.get(..read).unwrap_or_default());
                }
            }
        }
        upload.finish().await.map_err(failed)?;
        Ok(())
    }

    /// Where a shared file lies on this machine: in the store itself or, fetched from a bucket once, in `cache`.
    ///
    /// # Errors
    /// [`Error::StoreDamaged`] if the store does not have it; [`Error::File`] if it cannot be written.
    pub(crate) async fn fetch_file(
        &self,
        folder: &str,
        name: &str,
        cache: &Path,
    ) -> Result<PathBuf> {
        let files = &self.inner.files;
        if let Some(local) = files.local_path() {
            return Ok(local.join(SHARED).join(folder).join(name));
        }
        let directory = cache.join(folder);
        let target = directory.join(name);
        if target.exists() {
            return Ok(target);
        }
        std::fs::create_dir_all(&directory).map_err(Error::file(FileAction::Write, &directory))?;
        // A download that is cut off must not be taken for the file.
        let part = directory.join(format!("{name}.{}.part", std::process::id()));
        download(files, &format!("{SHARED}/{folder}/{name}"), &part).await?;
        std::fs::rename(&part, &target).map_err(Error::file(FileAction::Write, &target))?;
        Ok(target)
    }
}

async fn download(files: &StoreFiles, path: &str, to: &Path) -> Result<()> {
    let found = match files.objects().get(&files.object(path)).await {
        Ok(found) => found,
        Err(object_store::Error::NotFound { .. }) => {
            return Err(Error::StoreDamaged {
                path: path.to_owned(),
                reason: "it is missing; start the job again".to_owned(),
            });
        }
        Err(err) => return Err(files.failed(err)),
    };
    let failed = |err| Error::file(FileAction::Write, to)(err);
    let mut file = tokio::fs::File::create(to).await.map_err(failed)?;
    let mut chunks = found.into_stream();
    while let Some(chunk) = chunks.try_next().await.map_err(|err| files.failed(err))? {
        file.write_all(&chunk).await.map_err(failed)?;
    }
    file.sync_all().await.map_err(failed)
}

fn name_of(file: &Path) -> Result<&str> {
    let name = file.file_name().and_then(|name| name.to_str());
    name.ok_or_else(|| Error::Content {
        path: file.to_owned(),
        place: String::new(),
        reason: "its name must be valid UTF-8".to_owned(),
    })
}
