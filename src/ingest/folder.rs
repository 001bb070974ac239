//! `ingest images`: a directory of photos, labelled by folder, by a file, or not at all.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{Stream, stream};
use tokio::sync::mpsc;
use walkdir::{DirEntry, WalkDir};

use super::labels::LabelFile;
use super::options::IngestOptions;
use super::photo_file::{Root, read_photo, taken_otherwise};
use super::pipeline;
use super::writer::{IngestSummary, Outcome, Record};
use crate::progress::Progress;
use crate::store::Store;
use crate::store::rows::{FailureRow, LabelRow};
use crate::{Error, Result};

/// Extensions of files that are taken for photos; others are counted and passed over.
const EXTENSIONS: [&str; 20] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "dib", "tif", "tiff", "gif", "pbm", "pgm",
    "ppm", "pnm", "heic", "heif", "avif", "jp2", "jxl",
];

/// Where image-level labels come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelSource {
    /// The folder directly below the directory; photos in the directory itself have none.
    Folders,
    /// A CSV file with a column `file` (relative to the directory) and a column `label`.
    File(PathBuf),
    /// None.
    Unlabelled,
}

/// Ingests every photo below a directory.
///
/// # Errors
/// If the directory or label file cannot be read, or the store cannot be written. Bad photos, and
/// files that a label file names in vain, are recorded in `failures` instead.
pub async fn ingest_folder(
    store: &Store,
    directory: &Path,
    labels: &LabelSource,
    options: &IngestOptions,
    progress: &dyn Progress,
) -> Result<IngestSummary> {
    options.validate()?;
    let root = Arc::new(Root::new(directory)?);
    let labels = Arc::new(match labels {
        LabelSource::Folders => Labels::Folders,
        LabelSource::File(path) => Labels::File(LabelFile::read(path)?),
        LabelSource::Unlabelled => Labels::None,
    });

    let (count, counted_root) = (Arc::new(AtomicU64::new(0)), root.clone());
    let other_files = count.clone();
    let total = tokio::task::spawn_blocking(move || {
        let found = walk(counted_root.path());
        let photos = found.filter(|found| is_photo_or_error(found, &count));
        photos.count() as u64
    })
    .await
    .map_err(|source| Error::Worker {
        task: "listing the directory",
        source,
    })?;
    progress.start("images", Some(total));

    let (read_root, read_labels, read_options) = (root.clone(), labels.clone(), options.clone());
    let read = move |found: Found| match found {
        Found::Photo(path) => read_file(&read_root, &read_labels, &read_options, &path),
        Found::Failure(_, reason) => Err(reason),
    };
    let items = found_files(root);
    let done = pipeline::run(store, "ingest images", options, items, read, progress).await;
    let mut summary = match done {
        Ok(summary) => summary,
        failed => {
            progress.finish();
            return failed;
        }
    };

    if let Labels::File(file) = labels.as_ref() {
        let missing = file
            .missing()
            .into_iter()
            .map(|(item, reason)| Missing { item, reason });
        let dataset = options.dataset.clone();
        let fail = move |missing: Missing| {
            Ok(Outcome::failed(FailureRow::new(
                "ingest",
                Some(&dataset),
                &missing.item,
                &missing.reason,
            )))
        };
        let missing = stream::iter(missing);
        let recorded =
            pipeline::run(store, "ingest images", options, missing, fail, progress).await;
        summary.failed += recorded?.failed;
    }
    progress.finish();
    summary.other_files = other_files.load(Ordering::Relaxed);
    Ok(summary)
}

enum Labels {
    Folders,
    File(LabelFile),
    None,
}

/// A row of a label file whose photo does not exist.
struct Missing {
    item: String,
    reason: String,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.item)
    }
}

/// What a walk comes upon.
enum Found {
    Photo(PathBuf),
    Failure(PathBuf, Error),
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Photo(path) | Self::Failure(path, _) => path.display().fmt(f),
        }
    }
}

/// Every file below a directory, in the order of their names; hidden ones aside.
pub(super) fn walk(root: &Path) -> impl Iterator<Item = walkdir::Result<DirEntry>> {
    let hidden = |entry: &DirEntry| {
        entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".")
    };
    WalkDir::new(root)
        .follow_links(true)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(move |entry| !hidden(entry))
        .filter(|found| {
            found
                .as_ref()
                .map_or(true, |entry| entry.file_type().is_file())
        })
}

fn is_photo_or_error(found: &walkdir::Result<DirEntry>, others: &AtomicU64) -> bool {
    let Ok(entry) = found else {
        return true;
    };
    let extension = entry
        .path()
        .extension()
        .and_then(|extension| extension.to_str());
    let is_photo = extension.is_some_and(|e| EXTENSIONS.contains(&e.to_lowercase().as_str()));
    if !is_photo {
        others.fetch_add(1, Ordering::Relaxed);
    }
    is_photo
}

/// Walks on a thread of its own, a bounded distance ahead of the readers.
fn found_files(root: Arc<Root>) -> impl Stream<Item = Found> {
    let (sender, receiver) = mpsc::channel(1024);
    tokio::task::spawn_blocking(move || {
        let others = AtomicU64::new(0);
        for found in walk(root.path()).filter(|found| is_photo_or_error(found, &others)) {
            let found = match found {
                Ok(entry) => Found::Photo(relative(&root, entry.path())),
                Err(err) => walk_failure(&root, err),
            };
            if sender.blocking_send(found).is_err() {
                return; // the run failed elsewhere
            }
        }
    });
    stream::unfold(receiver, async |mut receiver| {
        Some((receiver.recv().await?, receiver))
    })
}

fn relative(root: &Root, path: &Path) -> PathBuf {
    path.strip_prefix(root.path()).unwrap_or(path).to_owned()
}

fn walk_failure(root: &Root, err: walkdir::Error) -> Found {
    let path = err.path().unwrap_or(root.path()).to_owned();
    let source = err
        .into_io_error()
        .unwrap_or_else(|| std::io::Error::other("a loop of links"));
    Found::Failure(relative(root, &path), Error::file("list", path)(source))
}

fn read_file(
    root: &Root,
    labels: &Labels,
    options: &IngestOptions,
    path: &Path,
) -> Result<Outcome> {
    let file_name = root.file_name(path)?;
    let (labels, origin) = match labels {
        Labels::Folders => {
            let folder = file_name
                .split_once('/')
                .map(|(folder, _)| folder.to_owned());
            (folder.into_iter().collect(), "folder")
        }
        Labels::File(file) => (file.of(&file_name), "csv"),
        Labels::None => (Vec::new(), ""),
    };
    let (image, info) = read_photo(root, &file_name, options)?;
    let failures = taken_otherwise(&image, &info).into_iter().collect();
    let row = |label| LabelRow {
        image_id: image.image_id.clone(),
        dataset: options.dataset.clone(),
        label,
        origin: origin.to_owned(),
        ingested_at: image.ingested_at,
    };
    let labels = labels.into_iter().map(row).collect();
    let record = Record {
        image,
        labels,
        ground_truth: None,
    };
    Ok(Outcome::read(record, failures))
}
