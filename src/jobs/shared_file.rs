//! The weights of a job, which its driver puts into the store and its workers fetch.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::FileAction;
use crate::store::Store;
use crate::{Error, Result};

/// A file of weights, or a folder with them, in a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SharedFiles {
    /// SHA-256 of the content, which names the folder.
    sha256: String,
    files: Vec<String>,
    /// Whether the folder is what is opened, instead of its file.
    is_folder: bool,
}

impl SharedFiles {
    /// Puts files into a store, unless they are there. Of a folder, its JSON files are put, too.
    pub async fn put(
        store: &Store,
        opened: &Path,
        files: &[PathBuf],
        sha256: &str,
    ) -> Result<Self> {
        let is_folder = opened.is_dir();
        let mut files = files.to_vec();
        if is_folder {
            files.extend(json_files(opened)?);
        }
        files.sort_unstable();
        files.dedup();
        let mut names = Vec::new();
        for file in &files {
            store.share_file(sha256, file).await?;
            let name = file.file_name().unwrap_or_default();
            names.push(name.to_string_lossy().into_owned());
        }
        Ok(Self {
            sha256: sha256.to_owned(),
            files: names,
            is_folder,
        })
    }

    /// Where the file or folder lies on this machine; it is fetched to `cache` if the store is in a bucket.
    pub async fn fetch(&self, store: &Store, cache: &Path) -> Result<PathBuf> {
        let mut path = PathBuf::new();
        for name in &self.files {
            path = store.fetch_file(&self.sha256, name, cache).await?;
        }
        if self.is_folder {
            path.pop();
        }
        Ok(path)
    }
}

fn json_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(Error::file(FileAction::List, folder))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::file(FileAction::List, folder))?.path();
        if path.is_file() && path.extension().is_some_and(|it| it == "json") {
            found.push(path);
        }
    }
    Ok(found)
}
