//! `ingest images`: a directory of photos, with labels from folders, from a file, from a manifest, or without labels.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{Stream, StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;
use walkdir::DirEntry;

use super::labels::LabelFile;
use super::manifest::{ManifestImage, read_manifest};
use super::options::IngestOptions;
use super::outcome::{IngestSummary, Outcome, Record};
use super::photo_file::{Root, add_attributes, read_photo, taken_otherwise};
use super::pipeline;
use super::walk::{io_error, is_listed, is_system, walk};
use crate::error::FileAction;
use crate::progress::Progress;
use crate::store::rows::{FailureRow, ImageRow, LabelRow};
use crate::store::{ListedFile, PhotoFiles, Store};
use crate::task::blocking;
use crate::{Error, Result};

/// Extensions of files that are treated as photos. Other files are counted and skipped.
const EXTENSIONS: [&str; 20] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "dib", "tif", "tiff", "gif", "pbm", "pgm",
    "ppm", "pnm", "heic", "heif", "avif", "jp2", "jxl",
];

/// Where image-level labels come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LabelSource {
    /// The name of the folder directly below the directory. Photos in the directory itself have no label.
    Folders,
    /// A CSV file with a column `file` (relative to the directory) and a column `label`.
    File(PathBuf),
    /// A manifest ([`read_manifest`]): the images themselves, their labels, and what else is known of them. Other files
    /// of the directory are not looked at.
    Manifest(PathBuf),
    /// Images have no labels.
    #[default]
    Unlabelled,
}

/// The input of `ingest images`.
#[derive(Debug, Clone, Default)]
pub struct FolderIngest {
    /// The directory of photos.
    pub directory: PathBuf,
    /// Where the labels come from.
    pub labels: LabelSource,
    /// Options that apply to all images.
    pub options: IngestOptions,
}

/// Ingests every photo below a directory.
///
/// # Examples
/// ```
/// use grainstore::ingest::{FolderIngest, IngestOptions, LabelSource, Source, ingest_folder};
/// use grainstore::progress::NoProgress;
/// use grainstore::store::{Store, StoreOptions};
///
/// # let photos = tempfile::tempdir()?;
/// # std::fs::create_dir(photos.path().join("cat"))?;
/// # image::RgbImage::new(4, 3).save(photos.path().join("cat/1.png"))?;
/// # let photos = photos.path();
/// # let dir = tempfile::tempdir()?;
/// # let place = dir.path().to_str().unwrap();
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let store = Store::open_or_create(place, StoreOptions::default()).await?;
/// let request = FolderIngest {
///     directory: photos.to_owned(),
///     labels: LabelSource::Folders, // cat/1.png is labelled 'cat'
///     options: IngestOptions {
///         source: Source::Web,
///         ..IngestOptions::of_dataset("pets")
///     },
/// };
/// let summary = ingest_folder(&store, &request, &NoProgress).await?;
/// assert_eq!((summary.images_added, summary.labels_added), (1, 1));
///
/// let again = ingest_folder(&store, &request, &NoProgress).await?;
/// assert_eq!((again.images_added, again.images_known), (0, 1));
/// # Ok::<(), grainstore::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Returned if the directory or label file cannot be read, or the store cannot be written. Photos that cannot be used,
/// and files that a label file names but that do not exist, are recorded in `failures` instead.
pub async fn ingest_folder(
    store: &Store,
    request: &FolderIngest,
    progress: &dyn Progress,
) -> Result<IngestSummary> {
    let FolderIngest {
        directory,
        labels,
        options,
    } = request;
    options.validate()?;
    let root = Arc::new(Root::open(store, directory)?);
    let labels = Arc::new(match labels {
        LabelSource::Manifest(path) => {
            let images = read_manifest(path)?;
            return ingest_listed(store, directory, images, options, progress).await;
        }
        LabelSource::Folders => Labels::Folders,
        LabelSource::File(path) => Labels::File(LabelFile::read(path)?),
        LabelSource::Unlabelled => Labels::None,
    });

    let listed = match root.bucket() {
        Some(files) => Listed::of_bucket(files, root.name()).await?,
        None => {
            let root = root.clone();
            blocking("listing the directory", move || Ok(Listed::of(&root))).await?
        }
    };
    progress.start("images", Some(listed.photos));

    let (read_root, read_labels, read_options) = (root.clone(), labels.clone(), options.clone());
    let read = move |found: Found| match found {
        Found::Photo(path) => read_file(&read_root, &read_labels, &read_options, &path),
        Found::Failure(_, reason) => Err(reason),
    };
    let items = match root.bucket() {
        Some(files) => found_objects(files.list(root.name()).await?).boxed(),
        None => found_files(root).boxed(),
    };
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
    summary.other_files = listed.other_files;
    summary.system_files = listed.system_files;
    Ok(summary)
}

/// Ingests the images that a manifest lists, in its order, and no others.
///
/// # Errors
/// As [`ingest_folder`].
pub async fn ingest_listed(
    store: &Store,
    directory: &Path,
    images: Vec<ManifestImage>,
    options: &IngestOptions,
    progress: &dyn Progress,
) -> Result<IngestSummary> {
    options.validate()?;
    let root = Root::open(store, directory)?;
    progress.start("images", Some(images.len() as u64));
    let read_options = options.clone();
    let read = move |listed: ManifestImage| {
        let (mut image, info) = read_photo(&root, &listed.file, &read_options)?;
        add_attributes(&mut image, listed.attributes)?;
        let failures = taken_otherwise(&image, &info).into_iter().collect();
        Ok(Outcome::read(
            labelled(image, listed.labels, "manifest", &read_options),
            failures,
        ))
    };
    let items = stream::iter(images);
    let done = pipeline::run(store, "ingest images", options, items, read, progress).await;
    progress.finish();
    done
}

/// An image with its labels.
fn labelled(image: ImageRow, labels: Vec<String>, origin: &str, options: &IngestOptions) -> Record {
    let row = |label| LabelRow {
        image_id: image.image_id.clone(),
        dataset: options.dataset.clone(),
        label,
        origin: origin.to_owned(),
        ingested_at: image.ingested_at,
    };
    let labels = labels.into_iter().map(row).collect();
    Record {
        image,
        labels,
        ground_truth: None,
    }
}

enum Labels {
    Folders,
    File(LabelFile),
    None,
}

/// A file named in a label file that does not exist.
struct Missing {
    item: String,
    reason: String,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.item)
    }
}

/// An item found by walking the directory.
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

/// The kind of a file below the directory, decided by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A photo, or an entry that cannot be listed and is recorded as a failed photo.
    Photo,
    /// Any other file.
    Other,
    /// A file that an operating system, a file server or a notebook left behind.
    System,
}

impl Kind {
    fn of(root: &Root, found: &walkdir::Result<DirEntry>) -> Self {
        let Ok(entry) = found else {
            return Self::Photo;
        };
        Self::of_path(root.path(), entry.path())
    }

    /// The kind of a file of a bucket; `None` for one that is hidden.
    fn of_object(file: &ListedFile) -> Option<Self> {
        is_listed(&file.file_name).then(|| Self::of_path(Path::new(""), Path::new(&file.file_name)))
    }

    fn of_path(root: &Path, path: &Path) -> Self {
        if is_system(root, path) {
            return Self::System;
        }
        let extension = path.extension().and_then(|it| it.to_str());
        match extension.map(str::to_lowercase) {
            Some(extension) if EXTENSIONS.contains(&extension.as_str()) => Self::Photo,
            _ => Self::Other,
        }
    }
}

/// Number of files of each kind below a directory.
#[derive(Debug, Default)]
struct Listed {
    photos: u64,
    other_files: u64,
    system_files: u64,
}

impl Listed {
    fn of(root: &Root) -> Self {
        let mut listed = Self::default();
        for found in walk(root.path()) {
            listed.count(Kind::of(root, &found));
        }
        listed
    }

    /// Counts the files of a bucket.
    ///
    /// # Errors
    /// [`Error::Location`] if there are none; errors of the bucket.
    async fn of_bucket(files: &PhotoFiles, root: &str) -> Result<Self> {
        let (mut listed, mut is_empty) = (Self::default(), true);
        let mut found = files.list(root).await?;
        while let Some(file) = found.try_next().await? {
            is_empty = false;
            Kind::of_object(&file)
                .into_iter()
                .for_each(|kind| listed.count(kind));
        }
        if is_empty {
            return Err(Error::Location {
                uri: root.to_owned(),
                reason: "there is no file below it".to_owned(),
            });
        }
        Ok(listed)
    }

    fn count(&mut self, kind: Kind) {
        let count = match kind {
            Kind::Photo => &mut self.photos,
            Kind::Other => &mut self.other_files,
            Kind::System => &mut self.system_files,
        };
        *count += 1;
    }
}

/// The photos among the files of a bucket.
fn found_objects(
    files: impl Stream<Item = Result<ListedFile>> + Send,
) -> impl Stream<Item = Found> + Send {
    files.filter_map(|file| {
        std::future::ready(match file {
            Ok(file) if Kind::of_object(&file) == Some(Kind::Photo) => {
                Some(Found::Photo(PathBuf::from(file.file_name)))
            }
            Ok(_) => None,
            Err(err) => Some(Found::Failure(PathBuf::new(), err)),
        })
    })
}

/// Walks the directory on a separate thread, a bounded distance ahead of the readers.
fn found_files(root: Arc<Root>) -> impl Stream<Item = Found> {
    let (sender, receiver) = mpsc::channel(1024);
    tokio::task::spawn_blocking(move || {
        let photos = walk(root.path()).filter(|found| Kind::of(&root, found) == Kind::Photo);
        for found in photos {
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
    Found::Failure(
        relative(root, &path),
        Error::file(FileAction::List, path)(io_error(err)),
    )
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
    let record = labelled(image, labels, origin, options);
    Ok(Outcome::read(record, failures))
}
