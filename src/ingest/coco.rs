//! `ingest coco`: a COCO data set, as an annotation file and an image directory.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::annotation::ground_truth_row;
use super::coco_items::{ImageItem, Items, annotation_name, plan_items};
use super::options::IngestOptions;
use super::outcome::{IngestSummary, Outcome, Record};
use super::photo_file::{Root, add_attributes, read_photo, taken_otherwise};
use super::pipeline;
use crate::classes::{Class, ClassSet, add_class_set};
use crate::coco::{Annotation, AnnotationIndex, Category, DatasetIndex, Image, Text};
use crate::error::FileAction;
use crate::formats::cvat;
use crate::photo::PhotoInfo;
use crate::progress::Progress;
use crate::store::rows::{FailureRow, GroundTruthRow, ImageRow, LabelRow};
use crate::store::{Location, PhotoFiles, Store};
use crate::{Error, Result};
use futures::stream;
use serde_json::{Map, Value};

/// The input of `ingest coco`.
#[derive(Debug, Clone, Default)]
pub struct CocoIngest {
    /// The annotation file.
    pub annotations: PathBuf,
    /// The directory that the images' file names are relative to.
    pub images: PathBuf,
    /// Options that apply to all images.
    pub options: IngestOptions,
}

/// Ingests the images of a COCO data-set file with their annotations.
///
/// Every image gets a row of `images` with COCO's id as `external_id`, one label per category that is annotated in it,
/// and its annotations as `ground_truth`. The categories become a class set named like the data set, in file order.
///
/// # Examples
/// ```
/// use grainstore::ingest::{CocoIngest, IngestOptions, ingest_coco};
/// use grainstore::progress::NoProgress;
///
/// # async fn example(store: &grainstore::store::Store) -> grainstore::Result<()> {
/// let request = CocoIngest {
///     annotations: "annotations/instances_val2017.json".into(),
///     images: "val2017".into(),
///     options: IngestOptions {
///         split: Some("val".to_owned()),
///         ..IngestOptions::of_dataset("coco")
///     },
/// };
/// let summary = ingest_coco(store, &request, &NoProgress).await?;
/// println!("{} images, {} objects", summary.images_added, summary.ground_truth_added);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Returned if the annotation file cannot be read or is not COCO JSON, the image directory cannot be listed, or the
/// store cannot be written. Images and annotations that cannot be used are recorded in `failures` instead.
pub async fn ingest_coco(
    store: &Store,
    request: &CocoIngest,
    progress: &dyn Progress,
) -> Result<IngestSummary> {
    let CocoIngest {
        annotations,
        images,
        options,
    } = request;
    options.validate()?;
    let root = Root::open(store, images)?;
    let (file, files) = (annotations.clone(), store.photos());
    let (text, index) = tokio::task::spawn_blocking(move || read_index(&files, &file))
        .await
        .map_err(|source| Error::Worker {
            task: "reading the annotation file",
            source,
        })??;
    let (context, images, failures) = plan(text, index, root, annotations, options)?;
    let classes = class_set(&context, options);
    // A list of images may have no categories.
    if !classes.classes.is_empty() {
        add_class_set(store, "ingest coco", &classes, "coco").await?;
    }

    progress.start("images", Some(images.len() as u64));
    // Faults found in the file pass through the pipeline as items that fail at once.
    let items = failures
        .into_iter()
        .map(Item::Misplaced)
        .chain(images.into_iter().map(Item::Image));
    let context = Arc::new(context);
    let read = move |item| match item {
        Item::Misplaced(row) => Ok(Outcome::failed(row)),
        Item::Image(item) => read_item(&context, item),
    };
    let done = pipeline::run(
        store,
        "ingest coco",
        options,
        stream::iter(items),
        read,
        progress,
    )
    .await;
    progress.finish();
    done
}

/// Data shared by all workers.
struct Context {
    text: Text,
    file: PathBuf,
    root: Root,
    categories: Vec<Category>,
    /// Position in `categories`, by category id.
    by_id: HashMap<i64, usize>,
    licenses: HashMap<i64, Value>,
    options: IngestOptions,
}

enum Item {
    Image(ImageItem),
    Misplaced(FailureRow),
}

impl std::fmt::Display for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Image(item) => f.write_str(&item.image.file_name),
            Self::Misplaced(row) => f.write_str(&row.item),
        }
    }
}

fn read_index(files: &PhotoFiles, file: &Path) -> Result<(Text, DatasetIndex)> {
    let in_bucket = file.to_str().filter(|file| Location::is_bucket(file));
    match in_bucket.and_then(|file| file.rsplit_once('/')) {
        Some((folder, name)) => Text::of(files.read(folder, name, u64::MAX)?, file),
        None => {
            let opened = File::open(file).map_err(Error::file(FileAction::Read, file))?;
            Text::open(opened, file)
        }
    }
}

fn plan(
    text: Text,
    index: DatasetIndex,
    root: Root,
    file: &Path,
    options: &IngestOptions,
) -> Result<(Context, Vec<ImageItem>, Vec<FailureRow>)> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let Items {
        images,
        categories,
        licenses,
        failures,
    } = plan_items(&text, index, &name, options).map_err(|err| Error::Content {
        path: file.to_owned(),
        place: String::new(),
        reason: err.to_string(),
    })?;
    let places = categories.iter().enumerate();
    let context = Context {
        by_id: places.map(|(place, it)| (it.id, place)).collect(),
        text,
        file: file.to_owned(),
        root,
        categories,
        licenses,
        options: options.clone(),
    };
    Ok((context, images, failures))
}

fn class_set(context: &Context, options: &IngestOptions) -> ClassSet {
    let class = |category: &Category| Class {
        name: category.name.clone(),
        supercategory: category.supercategory.clone(),
        external_id: Some(category.id),
        labels: vec![category.name.clone()],
        search: Vec::new(),
    };
    ClassSet {
        name: options.dataset.clone(),
        version: 0,
        classes: context.categories.iter().map(class).collect(),
    }
}

fn read_item(context: &Context, item: ImageItem) -> Result<Outcome> {
    let ImageItem { image, annotations } = item;
    let file_name = name_of_photo(&context.root, &image)?;
    let (mut row, info) = read_photo(&context.root, file_name, &context.options)?;
    check_size(&image, &info)?;
    row.external_id = Some(image.id);
    add_attributes(&mut row, attributes(context, &image))?;

    let mut record = Record {
        image: row,
        labels: Vec::new(),
        ground_truth: None,
    };
    let mut rows = Vec::with_capacity(annotations.len());
    let mut failures: Vec<FailureRow> = taken_otherwise(&record.image, &info).into_iter().collect();
    let mut shown = BTreeMap::new();
    for (position, found) in annotations.into_iter().enumerate() {
        let dataset = Some(context.options.dataset.as_str());
        let name = format!("{file_name}: {}", annotation_name(&found));
        let mut tell = |mut row: FailureRow| {
            row.image_id = Some(record.image.image_id.clone());
            failures.push(row);
        };
        // If the file can no longer be read, the image fails, rather than lose objects.
        let text = context.text.get(found.text.clone())?;
        match read_annotation(context, &record.image, &found, &text, position) {
            Ok(read) => {
                shown.insert(read.place, read.label);
                rows.push(read.row);
                if let Some(reason) = read.taken_otherwise {
                    tell(FailureRow::new("ingest", dataset, &name, &reason));
                }
            }
            Err(err) => tell(FailureRow::of_error("ingest", dataset, &name, &err)),
        }
    }
    record.labels = shown
        .into_values()
        .map(|label| label_row(&record.image, label))
        .collect();
    record.ground_truth = Some(rows);
    Ok(Outcome::read(record, failures))
}

/// The image's file name. If only the variant without the split's directory exists on disk, that is used instead.
fn name_of_photo<'a>(root: &Root, image: &'a Image) -> Result<&'a str> {
    match &image.other_name {
        Some(other) if !root.join(&image.file_name)?.exists() && root.join(other)?.exists() => {
            Ok(other)
        }
        _ => Ok(&image.file_name),
    }
}

fn label_row(image: &ImageRow, label: &str) -> LabelRow {
    LabelRow {
        image_id: image.image_id.clone(),
        dataset: image.dataset.clone(),
        label: label.to_owned(),
        origin: "coco".to_owned(),
        ingested_at: image.ingested_at,
    }
}

/// An annotation that could be read.
struct ReadAnnotation<'a> {
    /// Position of its category.
    place: usize,
    /// Name of its category.
    label: &'a str,
    row: GroundTruthRow,
    /// Why parts of it were left out, if any were.
    taken_otherwise: Option<String>,
}

fn read_annotation<'a>(
    context: &'a Context,
    image: &ImageRow,
    found: &AnnotationIndex,
    text: &str,
    position: usize,
) -> Result<ReadAnnotation<'a>> {
    let mut annotation = Annotation::parse(text)?;
    // If several annotations share an id, only the first keeps it.
    annotation.id = found.id;
    // CVAT calls every mask that is run lengths a crowd.
    annotation.iscrowd &= !cvat::is_of_cvat(&annotation.extra);
    let place = context.by_id.get(&annotation.category_id).copied();
    let category = place.and_then(|place| Some((place, context.categories.get(place)?)));
    let (place, category) = category.ok_or_else(|| Error::Annotation {
        reason: format!(
            "no category has its category_id, {}",
            annotation.category_id
        ),
    })?;
    let stray = annotation.segmentation.take_stray_rings();
    let stray: Vec<String> = stray
        .iter()
        .filter(|ring| ring.numbers > 0)
        .map(|it| format!("segmentation[{}] has {} numbers", it.ring, it.numbers))
        .collect();
    let taken_otherwise = (!stray.is_empty()).then(|| {
        format!(
            "{}, expected at least 6 (three points); the object is kept without that",
            stray.join(", ")
        )
    });
    Ok(ReadAnnotation {
        place,
        label: &category.name,
        row: ground_truth_row(image, annotation, &category.name, position)?,
        taken_otherwise,
    })
}

/// Checks that the annotations were drawn on the upright image, which is the store's frame. They are in the frame of
/// the width and height that the file gives for the image.
fn check_size(image: &Image, info: &PhotoInfo) -> Result<()> {
    let (Some(width), Some(height)) = (image.width, image.height) else {
        return Ok(());
    };
    if (width, height) == (info.width, info.height) {
        return Ok(());
    }
    let turned = (height, width) == (info.width, info.height) && info.orientation >= 5;
    let hint = if turned {
        "; it was annotated without its EXIF orientation: turn the pixels upright, or annotate again"
    } else {
        "; the annotations belong to another version of the image"
    };
    Err(Error::Annotation {
        reason: format!(
            "annotated at {width}x{height}, the file is {}x{}{hint}",
            info.width, info.height
        ),
    })
}

/// Keys of the image that have no column of their own, with the licence in full.
fn attributes(context: &Context, image: &Image) -> Map<String, Value> {
    let mut extra = image.extra.clone();
    let license = image.license().and_then(|id| context.licenses.get(&id));
    if let Some(license) = license.cloned() {
        extra.insert("license".to_owned(), license);
    }
    extra
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}
