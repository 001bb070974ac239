//! `ingest label-maps`: photos, and label maps whose values are classes, or classes and objects.
//!
//! ```text
//! IMAGES/a/1_leftImg8bit.png             a photo
//! MAPS/a/1_gtFine_instanceIds.png        its map, of gray levels or palette indices of 8 or 16 bits, or a TIFF
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use chrono::Utc;
use futures::stream;

use super::annotation::content_id;
use super::class_names::{ClassValues, class_set};
use super::options::IngestOptions;
use super::outcome::{IngestSummary, Outcome, Record};
use super::photo_file::{Root, check_on_disk, read_file, read_photo, taken_otherwise};
use super::pipeline;
use super::walk::{io_error, walk};
use crate::classes::add_class_set;
use crate::error::FileAction;
use crate::formats::OBJECTS_PER_CLASS;
use crate::geometry::{Rle, Size};
use crate::ids::GroundTruthId;
use crate::photo::label_values::{masks_of_values, read_values};
use crate::progress::Progress;
use crate::store::Store;
use crate::store::rows::{FailureRow, GroundTruthRow, ImageRow, RleRow};
use crate::{Error, Result};

/// Endings of the names of photos.
const PHOTOS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif"];
/// Endings of the names of maps.
const MAPS: [&str; 5] = ["png", "tif", "tiff", "PNG", "TIF"];
/// Values that are void if nothing else is asked for, unless a class has them.
const VOID: [u32; 2] = [255, 65535];

/// A request to ingest photos with label maps.
#[derive(Debug, Clone, Default)]
pub struct LabelMapIngest {
    /// The directory of the photos.
    pub images: PathBuf,
    /// The directory of the maps, with the same folders.
    pub maps: PathBuf,
    /// What the names of photos have before their ending and those of maps have not, such as '_leftImg8bit'.
    pub image_suffix: String,
    /// What the names of maps have before their ending and those of photos have not, such as '_gtFine_labelIds'.
    pub map_suffix: String,
    /// The classes of the values.
    pub classes: ClassValues,
    /// Whether the values are class x 1000 + object, as Cityscapes' `instanceIds`; values below 1000 are classes.
    pub objects: bool,
    /// Values of pixels that no metric counts; `None` for 255 and 65535, unless a class has them.
    pub void: Option<Vec<u32>>,
    /// Options of all readers.
    pub options: IngestOptions,
}

/// Ingests photos with label maps: every class or object of a map as ground truth, and the classes as labels. The classes become a
/// class set with the data set's name.
///
/// Photos without a map are left out, and counted as other files.
///
/// # Errors
/// [`Error::File`] for directories that cannot be listed, and errors of the store. Photos and maps that cannot be used become
/// rows of `failures`.
pub async fn ingest_label_maps(
    store: &Store,
    request: &LabelMapIngest,
    progress: &dyn Progress,
) -> Result<IngestSummary> {
    let options = &request.options;
    options.validate()?;
    for path in [&request.images, &request.maps] {
        check_on_disk("label map", path)?;
    }
    let (root, maps) = (Root::new(&request.images)?, Root::new(&request.maps)?);
    let mut photos = Vec::new();
    let mut without_map = 0;
    let mut used = BTreeSet::new();
    for found in walk(root.path()) {
        let entry =
            found.map_err(|err| Error::file(FileAction::List, root.path())(io_error(err)))?;
        let is_map = root.path() == maps.path() && used.contains(entry.path());
        if is_map || !is_photo(entry.path()) {
            continue;
        }
        let name = root.file_name(entry.path())?;
        match map_of(request, root.path(), maps.path(), &name) {
            Some(map) => {
                used.insert(map.clone());
                photos.push((name, map));
            }
            None => without_map += 1,
        }
    }
    if photos.is_empty() {
        return Err(Error::Content {
            path: request.maps.clone(),
            place: String::new(),
            reason: format!(
                "there is no label map of a photo of '{}': of photo 'a/1{}.jpg' it would be 'a/1{}.png'",
                request.images.display(),
                request.image_suffix,
                request.map_suffix
            ),
        });
    }
    let set = class_set(&options.dataset, request.classes.numbered());
    add_class_set(store, "ingest label-maps", &set, "label-maps").await?;
    progress.start("images", Some(photos.len() as u64));
    let context = Context {
        root,
        void: void_of(request),
        request: request.clone(),
    };
    let read = move |photo: Mapped| read_item(&context, &photo);
    let items = photos.into_iter().map(|(name, map)| Mapped { name, map });
    let items = stream::iter(items.collect::<Vec<_>>());
    let done = pipeline::run(store, "ingest label-maps", options, items, read, progress).await;
    progress.finish();
    let mut done = done?;
    done.other_files += without_map;
    Ok(done)
}

fn is_photo(path: &Path) -> bool {
    let ending = path.extension().and_then(|it| it.to_str());
    ending.is_some_and(|it| PHOTOS.contains(&it.to_lowercase().as_str()))
}

/// The map of a photo, if there is one.
fn map_of(request: &LabelMapIngest, photos: &Path, maps: &Path, photo: &str) -> Option<PathBuf> {
    let path = Path::new(photo);
    let stem = path.file_stem()?.to_str()?;
    let stem = stem.strip_suffix(&request.image_suffix)?;
    let folder = maps.join(path.parent().unwrap_or(Path::new("")));
    let names = MAPS
        .iter()
        .map(|ending| format!("{stem}{}.{ending}", request.map_suffix));
    let mut places = names.map(|name| folder.join(name));
    // In one directory with its maps, a photo is not a map of itself.
    let own = photos.join(photo);
    places.find(|place| place.is_file() && *place != own)
}

fn void_of(request: &LabelMapIngest) -> Vec<u32> {
    let unnamed = |value: &u32| request.classes.name(*value).is_none();
    match &request.void {
        Some(void) => void.clone(),
        None => VOID.into_iter().filter(unnamed).collect(),
    }
}

/// A photo and its map.
struct Mapped {
    name: String,
    map: PathBuf,
}

impl std::fmt::Display for Mapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

struct Context {
    root: Root,
    request: LabelMapIngest,
    void: Vec<u32>,
}

fn read_item(context: &Context, photo: &Mapped) -> Result<Outcome> {
    let (image, info) = read_photo(&context.root, &photo.name, &context.request.options)?;
    let size = Size {
        height: info.height,
        width: info.width,
    };
    let of_map = |reason: String| Error::Content {
        path: photo.map.clone(),
        place: String::new(),
        reason,
    };
    let values = read_values(&read_file(&photo.map)?, |found| {
        if found == size {
            return Ok(());
        }
        Err(of_map(format!(
            "it has {} x {} pixels, and its photo {} x {}",
            found.width, found.height, size.width, size.height
        )))
    });
    let values = values.map_err(|err| match err {
        err @ Error::Content { .. } => err,
        err => of_map(err.to_string()),
    })?;
    let mut record = Record {
        image,
        labels: Vec::new(),
        ground_truth: None,
    };
    let mut rows = Vec::new();
    let mut unknown = BTreeMap::new();
    for (value, mask) in masks_of_values(&values, size)? {
        let is_void = context.void.contains(&value);
        let class = match value {
            _ if is_void => None,
            _ if context.request.objects && value >= OBJECTS_PER_CLASS => {
                Some(value / OBJECTS_PER_CLASS)
            }
            _ => Some(value),
        };
        let name = class.and_then(|class| context.request.classes.name(class));
        if name.is_none() && !is_void {
            // 0 is the background, unless it is a class.
            if value != 0 {
                unknown.insert(value, mask.area());
            }
            continue;
        }
        if let Some(name) = name {
            record.add_label(name, "label-maps");
        }
        let row = row(
            &record.image,
            &mask,
            class.filter(|_| name.is_some()),
            name,
            is_void,
        );
        let id = content_id(&row, rows.len());
        rows.push(GroundTruthRow {
            ground_truth_id: id,
            ..row
        });
    }
    if let Some((value, pixels)) = unknown.iter().next() {
        return Err(of_map(format!(
            "{pixels} pixels have value {value}, which is no class{}; name it in the file of classes, or say --void {value}",
            match unknown.len() {
                1 => String::new(),
                several => format!(" (nor are {} others)", several - 1),
            }
        )));
    }
    record.ground_truth = Some(rows);
    let failures: Vec<FailureRow> = taken_otherwise(&record.image, &info).into_iter().collect();
    Ok(Outcome::read(record, failures))
}

fn row(
    image: &ImageRow,
    mask: &Rle,
    class: Option<u32>,
    name: Option<&str>,
    is_void: bool,
) -> GroundTruthRow {
    GroundTruthRow {
        ground_truth_id: GroundTruthId::of_bytes(&[]),
        image_id: image.image_id.clone(),
        dataset: image.dataset.clone(),
        external_id: None,
        category: name.map(str::to_owned),
        category_id: class.map(i64::from),
        bbox: mask.bbox().to_xywh(),
        area: mask.area() as f64,
        rle: Some(RleRow::from(mask)),
        iscrowd: false,
        is_ignored: is_void,
        segmentation: "label_map".to_owned(),
        attributes: None,
        ingested_at: Utc::now(),
    }
}
