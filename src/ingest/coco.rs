//! `ingest coco`: a COCO data-set file and its image directory.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::stream;

use super::annotation::ground_truth_row;
use super::options::IngestOptions;
use super::photo_file::{Root, read_photo, taken_otherwise};
use super::pipeline;
use super::writer::{IngestSummary, Outcome, Record};
use crate::classes::{Class, ClassSet, add_class_set};
use crate::coco::{Annotation, AnnotationIndex, DatasetIndex, Image};
use crate::photo::PhotoInfo;
use crate::progress::Progress;
use crate::store::Store;
use crate::store::rows::{FailureRow, ImageRow, LabelRow};
use crate::{Error, Result};

/// Ingests the images of a COCO data-set file with their annotations.
///
/// Every image gets a row of `images` with COCO's id as `external_id`, one label per category it
/// shows, and its annotations as `ground_truth`. The categories become a class set named like the data
/// set, in file order.
///
/// # Errors
/// If the annotation file cannot be read or is not COCO JSON, the image directory cannot be listed, or
/// the store cannot be written. Bad images and annotations are recorded in `failures` instead.
pub async fn ingest_coco(
    store: &Store,
    annotations: &Path,
    images: &Path,
    options: &IngestOptions,
    progress: &dyn Progress,
) -> Result<IngestSummary> {
    options.validate()?;
    let root = Root::new(images)?;
    let file = annotations.to_owned();
    let (text, index) = tokio::task::spawn_blocking(move || read_index(&file))
        .await
        .map_err(|source| Error::Worker {
            task: "reading the annotation file",
            source,
        })??;
    let (items, context, misplaced) = plan_items(text, index, root, annotations, options)?;
    let classes = class_set(&context, options);
    // A list of images may have no categories.
    if !classes.classes.is_empty() {
        add_class_set(store, "ingest coco", &classes, "coco").await?;
    }

    progress.start("images", Some(items.len() as u64));
    // Annotations that belong to no image ride along as items that fail at once.
    let items = misplaced
        .into_iter()
        .map(Item::Misplaced)
        .chain(items.into_iter().map(Item::Image));
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

/// Everything workers share.
struct Context {
    text: String,
    file: PathBuf,
    root: Root,
    categories: Vec<crate::coco::Category>,
    /// Position in `categories`, by id.
    by_id: HashMap<i64, usize>,
    licenses: HashMap<i64, serde_json::Value>,
    options: IngestOptions,
}

enum Item {
    Image(ImageItem),
    Misplaced(FailureRow),
}

struct ImageItem {
    image: Image,
    annotations: Vec<AnnotationIndex>,
}

impl std::fmt::Display for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Image(item) => f.write_str(&item.image.file_name),
            Self::Misplaced(row) => f.write_str(&row.item),
        }
    }
}

fn read_index(file: &Path) -> Result<(String, DatasetIndex)> {
    let bad = |reason: String| Error::Content {
        path: file.to_owned(),
        place: String::new(),
        reason,
    };
    let bytes = std::fs::read(file).map_err(Error::file("read", file))?;
    let mut text = String::from_utf8(bytes).map_err(|err| bad(err.to_string()))?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    let index = DatasetIndex::parse(&text).map_err(|err| {
        bad(format!(
            "not a COCO data set (images, annotations, categories): {err}"
        ))
    })?;
    Ok((text, index))
}

/// Groups annotations by image, and finds what belongs nowhere.
fn plan_items(
    text: String,
    index: DatasetIndex,
    root: Root,
    file: &Path,
    options: &IngestOptions,
) -> Result<(Vec<ImageItem>, Context, Vec<FailureRow>)> {
    let bad_file = |reason: String| Error::Content {
        path: file.to_owned(),
        place: String::new(),
        reason,
    };
    let mut by_id = HashMap::new();
    let mut names = HashSet::new();
    for (position, category) in index.categories.iter().enumerate() {
        if by_id.insert(category.id, position).is_some() {
            return Err(bad_file(format!("two categories have id {}", category.id)));
        }
        if !names.insert(category.name.as_str()) {
            return Err(bad_file(format!(
                "two categories are named '{}'",
                category.name
            )));
        }
    }

    let fail = |item: String, reason: &str| {
        FailureRow::new("ingest", Some(&options.dataset), &item, reason)
    };
    let file_name = file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let mut misplaced = Vec::new();
    let mut items: Vec<ImageItem> = Vec::with_capacity(index.images.len());
    let mut places = HashMap::with_capacity(index.images.len());
    for image in index.images {
        if places.contains_key(&image.id) {
            let item = format!("{file_name}: image '{}'", image.file_name);
            misplaced.push(fail(
                item,
                &format!("another image has id {} too", image.id),
            ));
            continue;
        }
        places.insert(image.id, items.len());
        items.push(ImageItem {
            image,
            annotations: Vec::new(),
        });
    }
    let mut ids = HashSet::with_capacity(index.annotations.len());
    for (position, annotation) in index.annotations.into_iter().enumerate() {
        let name = match annotation.id {
            Some(id) => format!("{file_name}: annotation {id}"),
            None => format!("{file_name}: annotations[{position}]"),
        };
        if annotation.id.is_some_and(|id| !ids.insert(id)) {
            misplaced.push(fail(name, "another annotation has that id too"));
            continue;
        }
        match places
            .get(&annotation.image_id)
            .and_then(|place| items.get_mut(*place))
        {
            Some(item) => item.annotations.push(annotation),
            None => {
                let reason = format!("no image has its image_id, {}", annotation.image_id);
                misplaced.push(fail(name, &reason));
            }
        }
    }
    let licenses = index
        .licenses
        .into_iter()
        .map(|license| {
            let mut whole = license.extra;
            whole.insert("id".to_owned(), license.id.into());
            (license.id, whole.into())
        })
        .collect();
    let context = Context {
        text,
        file: file.to_owned(),
        root,
        categories: index.categories,
        by_id,
        licenses,
        options: options.clone(),
    };
    Ok((items, context, misplaced))
}

fn class_set(context: &Context, options: &IngestOptions) -> ClassSet {
    let class = |category: &crate::coco::Category| Class {
        name: category.name.clone(),
        supercategory: category.supercategory.clone(),
        external_id: Some(category.id),
        labels: vec![category.name.clone()],
    };
    ClassSet {
        name: options.dataset.clone(),
        version: 0,
        classes: context.categories.iter().map(class).collect(),
    }
}

fn read_item(context: &Context, item: ImageItem) -> Result<Outcome> {
    let ImageItem { image, annotations } = item;
    let (mut row, info) = read_photo(&context.root, &image.file_name, &context.options)?;
    check_size(&image, &info)?;
    row.external_id = Some(image.id);
    row.attributes = attributes(context, &image)?;

    let mut record = Record {
        image: row,
        labels: Vec::new(),
        ground_truth: None,
    };
    let mut rows = Vec::with_capacity(annotations.len());
    let mut failures: Vec<FailureRow> = taken_otherwise(&record.image, &info).into_iter().collect();
    let mut shown = BTreeSet::new();
    for (position, found) in annotations.into_iter().enumerate() {
        match read_annotation(context, &record.image, &found, position) {
            Ok((category, ground_truth)) => {
                shown.insert(category);
                rows.push(ground_truth);
            }
            Err(err) => {
                let id = found
                    .id
                    .map_or_else(|| format!("#{position}"), |id| id.to_string());
                let name = format!("{}: annotation {id}", image.file_name);
                let dataset = Some(context.options.dataset.as_str());
                let mut row = FailureRow::of_error("ingest", dataset, &name, &err);
                row.image_id = Some(record.image.image_id.clone());
                failures.push(row);
            }
        }
    }
    record.labels = shown
        .into_iter()
        .map(|place| label(context, &record.image, place))
        .collect();
    record.ground_truth = Some(rows);
    Ok(Outcome::read(record, failures))
}

fn label(context: &Context, image: &ImageRow, category: usize) -> LabelRow {
    LabelRow {
        image_id: image.image_id.clone(),
        dataset: image.dataset.clone(),
        label: context.categories[category].name.clone(),
        origin: "coco".to_owned(),
        ingested_at: image.ingested_at,
    }
}

fn read_annotation(
    context: &Context,
    image: &ImageRow,
    found: &AnnotationIndex,
    position: usize,
) -> Result<(usize, crate::store::rows::GroundTruthRow)> {
    let text = context.text.get(found.text.clone()).unwrap_or_default();
    let annotation: Annotation = serde_json::from_str(text).map_err(|err| Error::Annotation {
        reason: format!("not as COCO has it: {err}"),
    })?;
    let category =
        *context
            .by_id
            .get(&annotation.category_id)
            .ok_or_else(|| Error::Annotation {
                reason: format!(
                    "no category has its category_id, {}",
                    annotation.category_id
                ),
            })?;
    let row = ground_truth_row(
        image,
        annotation,
        &context.categories[category].name,
        position,
    )?;
    Ok((category, row))
}

/// Annotations are drawn in the frame of the width and height they stand beside; the store's frame is
/// the upright image.
fn check_size(image: &Image, info: &PhotoInfo) -> Result<()> {
    let (Some(width), Some(height)) = (image.width, image.height) else {
        return Ok(());
    };
    if (width, height) == (info.width, info.height) {
        return Ok(());
    }
    let turned = (height, width) == (info.width, info.height) && info.orientation >= 5;
    let hint = match turned {
        true => {
            "; it was annotated without its EXIF orientation: turn the pixels upright, or annotate again"
        }
        false => "; the annotations belong to another version of the image",
    };
    Err(Error::Annotation {
        reason: format!(
            "annotated at {width}x{height}, the file is {}x{}{hint}",
            info.width, info.height
        ),
    })
}

/// What the file says of the image beyond the table's columns, its licence written out.
fn attributes(context: &Context, image: &Image) -> Result<Option<String>> {
    let mut extra = image.extra.clone();
    let license = extra
        .get("license")
        .and_then(|id| context.licenses.get(&id.as_i64()?));
    if let Some(license) = license.cloned() {
        extra.insert("license".to_owned(), license);
    }
    match extra.is_empty() {
        true => Ok(None),
        false => Ok(Some(serde_json::to_string(&extra)?)),
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}
