//! Photos that were moved or renamed after ingest: a directory comes in, rows of `images` get the place where their bytes
//! are found. An image is its bytes, so nothing else of the store changes.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;

use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};

use super::photo_file::{Root, read_file};
use super::walk::{is_system, walk};
use crate::Result;
use crate::ids::ImageId;
use crate::progress::Progress;
use crate::store::rows::{self, ImageRow, Row};
use crate::store::{Changes, Snapshot, Store, is_of_images};
use crate::task::blocking;

/// Rows that are rewritten in one commit.
const COMMIT_ROWS: usize = 8192;

/// Which images get a new place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relocation {
    /// Those whose file is not where the store says.
    Lost,
    /// Every one that is found: for copies on another disk.
    All,
}

/// What a relocation did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RelocateSummary {
    /// Images that have a new place.
    pub relocated: u64,
    /// Images that are still where the store says.
    pub in_place: u64,
    /// Images that are neither there nor below the directory, as the store names their files.
    pub lost: Vec<PathBuf>,
    /// Files that could not be read; each was told as it came up.
    pub failed: u64,
}

/// An image's file as the store names it.
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

    /// Whether there is a file of that size.
    fn is_there(&self) -> bool {
        let size = u64::try_from(self.file_bytes).ok();
        std::fs::metadata(self.path()).is_ok_and(|it| it.is_file() && Some(it.len()) == size)
    }
}

/// Where to look for photos that have moved.
#[derive(Debug, Clone)]
pub struct RelocateRequest {
    /// The directory they are below.
    pub directory: PathBuf,
    /// Which photos to look for.
    pub which: Relocation,
}

/// Looks below a directory for photos of the store, and writes down where they are now.
///
/// Files are told by their bytes, whatever their names; only those are read that are as large as an image that is looked
/// for. The name of a file below its root stays what it was where the new path ends in it, so that exports name it as
/// before.
///
/// May be stopped at any time and run again.
///
/// # Errors
/// If the directory cannot be listed, or what the store says. Files that cannot be read are told and counted.
pub async fn relocate(
    store: &Store,
    request: &RelocateRequest,
    progress: &dyn Progress,
) -> Result<RelocateSummary> {
    let which = request.which;
    let root = Arc::new(Root::new(&request.directory)?);
    let places = places(&store.snapshot().await?).await?;
    let images = places.len();
    let looked_in = root.clone();
    let (wanted, candidates) = blocking("looking for photos", move || {
        let wanted = wanted(places, which);
        let candidates = candidates(&looked_in, &wanted);
        Ok((wanted, candidates))
    })
    .await?;
    let mut summary = RelocateSummary::default();

    progress.start("files", Some(candidates.len() as u64));
    let mut found: HashMap<ImageId, PathBuf> = HashMap::new();
    let workers = available_parallelism().map_or(1, |n| n.get());
    let mut read = stream::iter(candidates)
        .map(|path| async move {
            let hashed = path.clone();
            let id = blocking("reading a photo", move || {
                Ok(ImageId::of_bytes(&read_file(&hashed)?))
            });
            (id.await, path)
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

/// Images that are looked for.
fn wanted(places: Vec<Place>, which: Relocation) -> HashMap<ImageId, Place> {
    let looked_for = places
        .into_iter()
        .filter(|place| which == Relocation::All || !place.is_there());
    looked_for
        .map(|place| (place.image_id.clone(), place))
        .collect()
}

/// Files below a directory that are as large as an image that is looked for, in the order of their names.
fn candidates(root: &Root, wanted: &HashMap<ImageId, Place>) -> Vec<PathBuf> {
    let sizes: HashSet<u64> = wanted
        .values()
        .filter_map(|place| u64::try_from(place.file_bytes).ok())
        .collect();
    // What cannot be listed cannot hold what is looked for; the images are then reported as lost.
    let found = walk(root.path()).filter_map(|found| found.ok());
    let files =
        found.filter(|entry| entry.file_type().is_file() && !is_system(root.path(), entry.path()));
    let as_large = files.filter(|file| file.metadata().is_ok_and(|it| sizes.contains(&it.len())));
    as_large.map(|file| file.into_path()).collect()
}

/// Where an image is now. Its name below the root stays, if the path ends in it.
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

/// Gives images of the store their new place; how many.
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
