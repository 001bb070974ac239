//! What every task of a job has in common.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::device::{DeviceName, Precision};
use crate::error::FileAction;
use crate::extract::options::{MaskOptions, SamVector};
use crate::extract::request::{ExtractRequest, Identified};
use crate::ids::ExtractorId;
use crate::store::Store;
use crate::task::blocking;
use crate::{Error, Result};

/// What a job extracts, and with what: all that a worker needs to know, besides its own device and its access to the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExtractSpec {
    /// The store.
    pub store: String,
    /// The job, whose tasks lie in the store.
    pub job: String,
    /// The extractor that a worker must arrive at from the checkpoint and the options.
    pub extractor_id: ExtractorId,
    checkpoint: SharedCheckpoint,
    options: MaskOptions,
    precision: Precision,
    vectors: Vec<SamVector>,
    keep_features: bool,
    points_per_batch: usize,
}

/// A checkpoint in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SharedCheckpoint {
    /// SHA-256 of its content, which names its folder.
    sha256: String,
    files: Vec<String>,
    /// Whether the folder is what is opened, instead of its file.
    is_folder: bool,
}

impl ExtractSpec {
    /// The spec of a request; its checkpoint is put into the store, unless it is there.
    pub(super) async fn share(
        store: &Store,
        job: String,
        request: &ExtractRequest,
        identified: &Identified,
    ) -> Result<Self> {
        let sha256 = identified.row.checkpoint_sha256.clone();
        let is_folder = request.checkpoint.is_dir();
        let mut files = identified.checkpoint.files().to_vec();
        if is_folder {
            files.extend(json_files(&request.checkpoint)?);
        }
        files.sort_unstable();
        files.dedup();
        let mut names = Vec::new();
        for file in &files {
            store.share_file(&sha256, file).await?;
            let name = file.file_name().unwrap_or_default();
            names.push(name.to_string_lossy().into_owned());
        }
        Ok(Self {
            store: store.uri().to_owned(),
            job,
            extractor_id: identified.row.extractor_id.clone(),
            checkpoint: SharedCheckpoint {
                sha256,
                files: names,
                is_folder,
            },
            options: request.options.clone(),
            precision: request.precision,
            vectors: request.vectors.clone(),
            keep_features: request.keep_features,
            points_per_batch: request.points_per_batch,
        })
    }

    /// The same request on this machine; the checkpoint is fetched to `cache` if the store is in a bucket.
    pub(super) async fn request(
        &self,
        store: &Store,
        device: DeviceName,
        cache: &Path,
    ) -> Result<ExtractRequest> {
        let SharedCheckpoint {
            sha256,
            files,
            is_folder,
        } = &self.checkpoint;
        let mut checkpoint = PathBuf::new();
        for name in files {
            checkpoint = store.fetch_file(sha256, name, cache).await?;
        }
        if *is_folder {
            checkpoint.pop();
        }
        Ok(ExtractRequest {
            checkpoint,
            options: self.options.clone(),
            vectors: self.vectors.clone(),
            keep_features: self.keep_features,
            precision: self.precision,
            device,
            points_per_batch: self.points_per_batch,
            ..ExtractRequest::default()
        })
    }

    /// The spec without its job: two jobs with the same one need the same model.
    pub(super) fn of_any_job(&self) -> Self {
        Self {
            job: String::new(),
            ..self.clone()
        }
    }

    /// What the chunks of this extraction are staged under.
    pub(super) fn queue(&self) -> String {
        format!("extract-{}", self.extractor_id)
    }

    /// What is kept of images besides their masks, as words: a chunk with other words is another chunk.
    pub(super) fn kept(&self) -> Vec<&'static str> {
        let mut kept: Vec<_> = self.vectors.iter().map(|kind| kind.word()).collect();
        kept.sort_unstable();
        kept.dedup();
        kept.extend(self.keep_features.then_some("features"));
        kept
    }
}

/// Identifies what a request extracts, off the threads of futures: whole checkpoints are read.
pub(super) async fn identify(request: &ExtractRequest) -> Result<Identified> {
    let request = request.clone();
    blocking("reading the checkpoint", move || request.identify()).await
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
