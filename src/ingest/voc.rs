//! `ingest voc`: a PASCAL VOC directory (JPEGImages, SegmentationClass, SegmentationObject, ImageSets).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::Utc;
use futures::stream;

use super::annotation::content_id;
use super::class_names::class_set;
use super::options::IngestOptions;
use super::outcome::{IngestSummary, Outcome, Record};
use super::photo_file::{Root, check_on_disk, failure_of, read_file, read_photo, taken_otherwise};
use super::pipeline;
use super::regions::{Region, VOID, plan_regions};
use crate::classes::add_class_set;
use crate::error::FileAction;
use crate::geometry::{Rle, Size};
use crate::ids::GroundTruthId;
use crate::photo::{IndexedImage, decode_indexed_png, voc_colormap};
use crate::progress::Progress;
use crate::store::Store;
use crate::store::rows::{FailureRow, GroundTruthRow, ImageRow, RleRow};
use crate::{Error, Result};

/// The 20 classes of PASCAL VOC, in the order of their indices 1..=20.
pub const VOC_CLASSES: [&str; 20] = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
];

/// The input of `ingest voc`.
#[derive(Debug, Clone)]
pub struct VocIngest {
    /// The directory with `JPEGImages`, `SegmentationClass` and `ImageSets`.
    pub directory: PathBuf,
    /// Names of the classes with indices 1, 2, ...; by default [`VOC_CLASSES`].
    pub class_names: Vec<String>,
    /// Options that apply to all images. The split names the image set.
    pub options: IngestOptions,
}

impl Default for VocIngest {
    fn default() -> Self {
        Self {
            directory: PathBuf::new(),
            class_names: VOC_CLASSES.map(str::to_owned).to_vec(),
            options: IngestOptions::default(),
        }
    }
}

/// Ingests the images of an image set in a VOC directory, with their label maps.
///
/// Every object of `SegmentationObject` becomes a row of `ground_truth` with its class from `SegmentationClass`.
/// Without an object map, every class region becomes one. Void pixels (255) become one row with `is_ignored`. The
/// classes become a class set named like the data set.
///
/// The split in the options names the image set.
///
/// # Examples
/// ```
/// use grainstore::ingest::{IngestOptions, VocIngest, ingest_voc};
/// use grainstore::progress::NoProgress;
///
/// # async fn example(store: &grainstore::store::Store) -> grainstore::Result<()> {
/// let request = VocIngest {
///     directory: "VOCdevkit/VOC2012".into(),
///     options: IngestOptions {
///         split: Some("val".to_owned()), // reads ImageSets/Segmentation/val.txt
///         ..IngestOptions::of_dataset("voc")
///     },
///     ..VocIngest::default()
/// };
/// let summary = ingest_voc(store, &request, &NoProgress).await?;
/// println!("{} images, {} objects", summary.images_added, summary.ground_truth_added);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Returned if the directory lacks its parts or the image set, or the store cannot be written. Images and label maps
/// that cannot be used are recorded in `failures` instead.
pub async fn ingest_voc(
    store: &Store,
    request: &VocIngest,
    progress: &dyn Progress,
) -> Result<IngestSummary> {
    let VocIngest {
        directory,
        class_names: classes,
        options,
    } = request;
    options.validate()?;
    check_on_disk("VOC", directory)?;
    let split = options
        .split
        .as_deref()
        .ok_or_else(|| Error::MissingOption {
            option: "split",
            expected: format!(
                "an image set of '{}'",
                directory.join("ImageSets").display()
            ),
        })?;
    let names = read_image_set(directory, split)?;
    let context = Arc::new(Context {
        root: Root::new(&directory.join("JPEGImages"))?,
        directory: directory.to_owned(),
        classes: classes.to_vec(),
        options: options.clone(),
    });
    let set = class_set(&options.dataset, (1..).zip(classes));
    add_class_set(store, "ingest voc", &set, "voc").await?;
    progress.start("images", Some(names.len() as u64));
    let read = move |name: String| read_item(&context, &name);
    let done = pipeline::run(
        store,
        "ingest voc",
        options,
        stream::iter(names),
        read,
        progress,
    )
    .await;
    progress.finish();
    done
}

struct Context {
    root: Root,
    directory: PathBuf,
    classes: Vec<String>,
    options: IngestOptions,
}

/// Reads the names in an image set, from `ImageSets/Segmentation` or `ImageSets/Main`.
fn read_image_set(directory: &Path, split: &str) -> Result<Vec<String>> {
    let sets = directory.join("ImageSets");
    let file = ["Segmentation", "Main"]
        .iter()
        .map(|folder| sets.join(folder).join(format!("{split}.txt")))
        .find(|file| file.is_file());
    let Some(file) = file else {
        return Err(Error::InvalidOption {
            what: "split",
            value: split.to_owned(),
            expected: format!(
                "an image set of '{}' ({})",
                sets.display(),
                image_sets(&sets)
            ),
        });
    };
    let text = std::fs::read_to_string(&file).map_err(Error::file(FileAction::Read, &file))?;
    let names: Vec<_> = text
        .trim_start_matches('\u{feff}') // Windows editors write this mark
        .lines()
        .filter_map(image_of_line)
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        return Err(Error::Content {
            path: file,
            place: String::new(),
            reason: "the image set is empty".to_owned(),
        });
    }
    Ok(names)
}

/// The image that a line names. Class lists in `ImageSets/Main` have a second column, in which -1 means that the class
/// is not in the image.
fn image_of_line(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let name = words.next()?;
    (words.next() != Some("-1")).then_some(name)
}

fn image_sets(sets: &Path) -> String {
    let mut names: Vec<String> = ["Segmentation", "Main"]
        .iter()
        .filter_map(|folder| std::fs::read_dir(sets.join(folder)).ok())
        .flatten()
        .flatten()
        .filter_map(|entry| Some(entry.path().file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        "there are none".to_owned()
    } else {
        names.join(", ")
    }
}

fn read_item(context: &Context, name: &str) -> Result<Outcome> {
    let (image, info) = read_photo(&context.root, &photo_name(context, name)?, &context.options)?;
    let class_map = read_map(context, "SegmentationClass", name)?.ok_or_else(|| {
        let folder = context.directory.join("SegmentationClass");
        missing(folder.join(format!("{name}.png")))
    })?;
    let object_map = read_map(context, "SegmentationObject", name)?;
    for map in [Some(&class_map), object_map.as_ref()]
        .into_iter()
        .flatten()
    {
        if (map.width, map.height) != (info.width, info.height) {
            return Err(Error::Annotation {
                reason: format!(
                    "its label map is {}x{}, the image {}x{}",
                    map.width, map.height, info.width, info.height
                ),
            });
        }
    }
    let size = Size {
        height: info.height,
        width: info.width,
    };
    let objects = plan_regions(
        &class_map.indices,
        object_map.as_ref().map(|map| &map.indices[..]),
    )?;
    let mut record = Record {
        image,
        labels: Vec::new(),
        ground_truth: None,
    };
    let mut rows = Vec::with_capacity(objects.len());
    for (position, object) in objects.iter().enumerate() {
        let row = object_row(
            context,
            &record.image,
            &class_map,
            object_map.as_ref(),
            *object,
            size,
        )?;
        let id = content_id(&row, position);
        if let Some(label) = &row.category {
            record.add_label(label, "voc");
        }
        rows.push(GroundTruthRow {
            ground_truth_id: id,
            ..row
        });
    }
    record.ground_truth = Some(rows);
    let mut failures: Vec<FailureRow> = taken_otherwise(&record.image, &info).into_iter().collect();
    if looks_binary(&class_map) {
        let reason = "its label map holds nothing but 0 and 255, so all of it is background or void: it looks like a \
                      0/255 mask; write class indices, 1 for the first class";
        failures.push(failure_of(&record.image, &record.image.file_name, reason));
    }
    Ok(Outcome::read(record, failures))
}

/// Whether a label map is more likely a 0/255 mask than a map that holds only void: the void of VOC has a colour of its
/// own.
fn looks_binary(map: &IndexedImage) -> bool {
    let is_binary =
        map.indices.contains(&VOID) && map.indices.iter().all(|it| matches!(*it, 0 | VOID));
    let void_color = |colors: &[[u8; 3]]| colors.get(usize::from(VOID)).copied();
    let is_foreign = |palette: &Vec<[u8; 3]>| void_color(palette) != void_color(&voc_colormap());
    is_binary && (map.is_gray || map.palette.as_ref().is_some_and(is_foreign))
}

fn photo_name(context: &Context, name: &str) -> Result<String> {
    const EXTENSIONS: [&str; 6] = ["jpg", "jpeg", "png", "JPG", "JPEG", "PNG"];
    for extension in EXTENSIONS {
        let file_name = format!("{name}.{extension}");
        if context.root.join(&file_name)?.exists() {
            return Ok(file_name);
        }
    }
    Err(missing(context.root.path().join(format!("{name}.jpg"))))
}

fn missing(path: PathBuf) -> Error {
    const ENOENT: i32 = 2;
    Error::file(FileAction::Read, path)(std::io::Error::from_raw_os_error(ENOENT))
}

fn read_map(context: &Context, folder: &str, name: &str) -> Result<Option<IndexedImage>> {
    let paths = ["png", "PNG"].map(|extension| {
        let folder = context.directory.join(folder);
        folder.join(format!("{name}.{extension}"))
    });
    let Some(path) = paths.into_iter().find(|path| path.exists()) else {
        return Ok(None);
    };
    let map = decode_indexed_png(&read_file(&path)?);
    Ok(Some(
        map.map_err(|source| Error::LabelMap { path, source })?,
    ))
}

fn object_row(
    context: &Context,
    image: &ImageRow,
    class_map: &IndexedImage,
    object_map: Option<&IndexedImage>,
    region: Region,
    size: Size,
) -> Result<GroundTruthRow> {
    let objects = object_map.map(|map| &map.indices[..]);
    let bitmap = region.pixels(&class_map.indices, objects);
    let (class, external_id) = match region {
        Region::Object { index, class } => (Some(class), Some(i64::from(index))),
        Region::Class { class } => (Some(class), None),
        Region::Void => (None, None),
    };
    let category = class.map(|class| class_name(context, class)).transpose()?;
    let mask = Rle::from_row_major(size, &bitmap)?;
    Ok(GroundTruthRow {
        ground_truth_id: GroundTruthId::of_bytes(&[]),
        image_id: image.image_id.clone(),
        dataset: image.dataset.clone(),
        external_id,
        category,
        category_id: class.map(i64::from),
        bbox: mask.bbox().to_xywh(),
        area: mask.area() as f64,
        rle: Some(RleRow::from(&mask)),
        iscrowd: false,
        is_ignored: region == Region::Void,
        segmentation: "label_map".to_owned(),
        attributes: None,
        ingested_at: Utc::now(),
    })
}

fn class_name(context: &Context, class: u8) -> Result<String> {
    let name = context.classes.get(usize::from(class).wrapping_sub(1));
    name.cloned().ok_or_else(|| Error::Annotation {
        reason: format!(
            "its label map holds class {class}, but there are {} class names",
            context.classes.len()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_a_class_leave_out_images_without_it() {
        assert_eq!(image_of_line("2007_1 -1"), None);
        assert_eq!(image_of_line(" 2007_1  1"), Some("2007_1"));
        assert_eq!(image_of_line(""), None);
    }
}
