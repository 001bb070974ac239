//! Finds photos that were moved or renamed after ingest. In: a directory. Out: rows of `images` with the paths where
//! their bytes were found. An image is identified by its bytes, so nothing else in the store changes.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;

use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::photo_file::Root;
use super::walk::{is_listed, is_system, walk};
use crate::Result;
use crate::ids::ImageId;
use crate::progress::Progress;
use crate::store::rows::{self, ImageRow, Row};
use crate::store::{Changes, Location, PhotoFiles, Snapshot, Store, is_of_images};
use crate::task::blocking;

/// Number of rows rewritten per commit.
const COMMIT_ROWS: usize = 8192;

/// Which images get a new path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relocation {
    /// Images whose file is not at the stored path.
    Lost,
    /// Every image that is found, for copies on another disk.
    All,
}

/// The result of a relocation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RelocateSummary {
    /// Images that got a new path.
    pub relocated: u64,
    /// Images that are still at the stored path.
    pub in_place: u64,
    /// Stored paths of images that are neither there nor below the directory.
    pub lost: Vec<PathBuf>,
    /// Files that could not be read. Each was reported when it failed.
    pub failed: u64,
}

/// The stored path of an image's file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Place {
    image_id: ImageId,
    root: String,
    file_name: String,
    file_bytes: i64,
}

impl Place {
    fn path(&self) -> PathBuf {
        Path::new(&self.root).join(&self.file_name)
    }

    /// Whether a file of the stored size is at the path. What is in a bucket is not asked for: that would be a request an
    /// image.
    fn is_there(&self) -> bool {
        if Location::is_bucket(&self.root) {
            return true;
        }
        let size = u64::try_from(self.file_bytes).ok();
        std::fs::metadata(self.path()).is_ok_and(|it| it.is_file() && Some(it.len()) == size)
    }
}

/// Where to look for photos that have moved.
#[derive(Debug, Clone)]
pub struct RelocateRequest {
    /// The directory to look in.
    pub directory: PathBuf,
    /// Which photos to look for.
    pub which: Relocation,
}

/// Looks below a directory for photos of the store, and stores their current paths.
///
/// Files are identified by their bytes, whatever their names. Only files with the same size as a wanted image are read.
/// If the new path ends in the stored file name, that name is kept, so that exports use the same name as before.
///
/// It may be stopped at any time and run again.
///
/// # Examples
/// ```
/// use grainstore::ingest::{RelocateRequest, Relocation, relocate};
/// use grainstore::progress::NoProgress;
///
/// # async fn example(store: &grainstore::store::Store) -> grainstore::Result<()> {
/// let request = RelocateRequest {
///     directory: "/mnt/new-disk/photos".into(),
///     which: Relocation::Lost,
/// };
/// let summary = relocate(store, &request, &NoProgress).await?;
/// println!("{} found again", summary.relocated);
/// for file in &summary.lost {
///     println!("'{}' is still missing", file.display());
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Returned if the directory cannot be listed, and for store errors. Files that cannot be read are reported and
/// counted.
pub async fn relocate(
    store: &Store,
    request: &RelocateRequest,
    progress: &dyn Progress,
) -> Result<RelocateSummary> {
    let which = request.which;
    let root = Arc::new(Root::open(store, &request.directory)?);
    let places = places(&store.snapshot().await?).await?;
    let images = places.len();
    let looked_in = root.clone();
    let wanted = blocking("looking for photos", move || Ok(wanted(places, which))).await?;
    let sizes = sizes(&wanted);
    let candidates = match root.bucket() {
        Some(files) => candidates_in_bucket(files, &root, &sizes).await?,
        None => {
            blocking("looking for photos", move || {
                Ok(candidates(&looked_in, &sizes))
            })
            .await?
        }
    };
    let mut summary = RelocateSummary::default();

    progress.start("files", Some(candidates.len() as u64));
    let mut found: HashMap<ImageId, PathBuf> = HashMap::new();
    let workers = available_parallelism().map_or(1, |n| n.get());
    let mut read = stream::iter(candidates)
        .map(|path| {
            let (hashed, root) = (path.clone(), root.clone());
            let id = blocking("reading a photo", move || {
                let bytes = root.read(&root.file_name(&hashed)?)?;
                Ok(ImageId::of_bytes(&bytes))
            });
            async move { (id.await, path) }
        })
        .buffered(workers * 4);
    while let Some((id, path)) = read.next().await {
        progress.advance(1);
        match id {
            Ok(id) => {
                let Some(place) = wanted.get(&id) else {
                    continue;
                };
                let is_better = found.get(&id).is_none_or(|other| {
                    path.ends_with(&place.file_name) && !other.ends_with(&place.file_name)
                });
                if is_better {
                    found.insert(id, path);
                }
            }
            Err(err) => {
                progress.note(&err.to_string());
                summary.failed += 1;
            }
        }
    }
    progress.finish();

    let mut moved = Vec::new();
    for (id, path) in &found {
        let Some(place) = wanted.get(id) else {
            continue;
        };
        let to = new_place(&root, place, path)?;
        if (&to.root, &to.file_name) != (&place.root, &place.file_name) {
            moved.push(to);
        }
    }
    moved.sort_by(|a, b| (&a.root, &a.file_name).cmp(&(&b.root, &b.file_name)));
    for part in moved.chunks(COMMIT_ROWS) {
        summary.relocated += write(store, part).await?;
    }
    let not_found = wanted
        .values()
        .filter(|it| !found.contains_key(&it.image_id));
    let lost = not_found.filter(|place| !place.is_there());
    summary.lost = lost.map(Place::path).collect();
    summary.lost.sort();
    summary.in_place = (images - moved.len() - summary.lost.len()) as u64;
    Ok(summary)
}

/// Images to look for.
fn wanted(places: Vec<Place>, which: Relocation) -> HashMap<ImageId, Place> {
    let looked_for = places
        .into_iter()
        .filter(|place| which == Relocation::All || !place.is_there());
    looked_for
        .map(|place| (place.image_id.clone(), place))
        .collect()
}

fn sizes(wanted: &HashMap<ImageId, Place>) -> HashSet<u64> {
    let sizes = wanted.values();
    sizes
        .filter_map(|place| u64::try_from(place.file_bytes).ok())
        .collect()
}

/// Files of a bucket that have the size of a wanted image.
async fn candidates_in_bucket(
    files: &PhotoFiles,
    root: &Root,
    sizes: &HashSet<u64>,
) -> Result<Vec<PathBuf>> {
    let mut listed = files.list(root.name()).await?;
    let mut found = Vec::new();
    while let Some(file) = listed.try_next().await? {
        if sizes.contains(&file.bytes) && is_listed(&file.file_name) {
            found.push(root.join(&file.file_name)?);
        }
    }
    Ok(found)
}

/// Files below the directory that have the size of a wanted image, in the order of their names.
fn candidates(root: &Root, sizes: &HashSet<u64>) -> Vec<PathBuf> {
    // Images in directories that cannot be listed are later reported as lost.
    let found = walk(root.path()).filter_map(|found| found.ok());
    let files =
        found.filter(|entry| entry.file_type().is_file() && !is_system(root.path(), entry.path()));
    let as_large = files.filter(|file| file.metadata().is_ok_and(|it| sizes.contains(&it.len())));
    as_large.map(|file| file.into_path()).collect()
}

/// The current path of an image. Its file name is kept if the path ends in it.
fn new_place(root: &Root, place: &Place, path: &Path) -> Result<Place> {
    let mut above = path;
    for _ in Path::new(&place.file_name).components() {
        above = above.parent().unwrap_or(above);
    }
    let keeps_name = path.ends_with(&place.file_name);
    let (new_root, file_name) = match above.to_str() {
        Some(above) if keeps_name => (above.to_owned(), place.file_name.clone()),
        _ => (root.name().to_owned(), root.file_name(path)?),
    };
    Ok(Place {
        root: new_root,
        file_name,
        ..place.clone()
    })
}

async fn places(snapshot: &Snapshot) -> Result<Vec<Place>> {
    let columns = ["image_id", "root", "file_name", "file_bytes"];
    let scan = snapshot.scan(ImageRow::TABLE).await?.project(&columns)?;
    let mut rows = scan.stream().await?;
    let mut places = Vec::new();
    while let Some(batch) = rows.next().await {
        places.extend(rows::decode::<Place>(ImageRow::TABLE, &batch?)?);
    }
    Ok(places)
}

/// Stores the new paths of images. Returns the number of rows rewritten.
async fn write(store: &Store, moved: &[Place]) -> Result<u64> {
    let moved: HashMap<&ImageId, &Place> =
        moved.iter().map(|place| (&place.image_id, place)).collect();
    let moved = &moved;
    let (_, count) = store
        .commit_with("relocate", |head| async move {
            let of_moved = is_of_images(moved.keys().copied());
            let scan = head.scan(ImageRow::TABLE).await?.filter(of_moved.clone());
            let mut images: Vec<ImageRow> = rows::collect(scan).await?;
            for image in &mut images {
                if let Some(to) = moved.get(&image.image_id) {
                    image.root = to.root.clone();
                    image.file_name = to.file_name.clone();
                }
            }
            let mut changes = Changes::new();
            changes.delete(ImageRow::TABLE, of_moved);
            changes.append(ImageRow::TABLE, ImageRow::to_batch(&images)?);
            Ok((changes, images.len() as u64))
        })
        .await?;
    Ok(count)
}
