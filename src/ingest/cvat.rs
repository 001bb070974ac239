//! `ingest cvat`: a directory of "CVAT for images 1.1": annotations.xml and photos.
//!
//! Masks are kept pixel for pixel; polygons, turned boxes and ellipses become masks as pycocotools fills polygons; boxes stay
//! boxes. Shapes of one label that share a group are one object. Tags become labels of their image. Attributes go into
//! `ground_truth.attributes`, as CVAT's own COCO files have them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::annotation::ground_truth_row;
use super::class_names::class_set;
use super::cvat_file::{CvatFile, CvatImage, Shape};
use super::cvat_shapes::drawn;
use super::drawn::Drawn;
use super::options::IngestOptions;
use super::outcome::{IngestSummary, Outcome, Record};
use super::photo_file::{Root, check_on_disk, failure_of, read_photo, taken_otherwise};
use super::pipeline;
use crate::classes::add_class_set;
use crate::coco::Annotation;
use crate::formats::cvat;
use crate::geometry::Size;
use crate::ids::check_name;
use crate::progress::Progress;
use crate::store::Store;
use crate::store::rows::FailureRow;
use crate::{Error, Result};

/// A request to ingest a directory of "CVAT for images".
#[derive(Debug, Clone, Default)]
pub struct CvatIngest {
    /// `annotations.xml`, or the directory that holds it.
    pub annotations: PathBuf,
    /// The directory of the photos; `None` for the folder `images` beside the file, or else the file's own folder.
    pub images: Option<PathBuf>,
    /// Options of all readers. Without a split, images have that of the file, its subset.
    pub options: IngestOptions,
}

/// Ingests a directory of "CVAT for images": its photos, with their shapes as ground truth and the labels of these as labels. The
/// labels become a class set with the data set's name.
///
/// # Errors
/// [`Error::Content`] if the file cannot be read, and errors of the store. Images and shapes that cannot be used become rows of
/// `failures`.
pub async fn ingest_cvat(
    store: &Store,
    request: &CvatIngest,
    progress: &dyn Progress,
) -> Result<IngestSummary> {
    let options = &request.options;
    options.validate()?;
    check_on_disk("CVAT", &request.annotations)?;
    let path = if request.annotations.is_dir() {
        request.annotations.join(cvat::FILE)
    } else {
        request.annotations.clone()
    };
    let root = photos_root(&path, request.images.as_deref())?;
    let opened = path.clone();
    let described = tokio::task::spawn_blocking(move || CvatFile::open(&opened)?.describe());
    let described = described.await.map_err(|source| Error::Worker {
        task: "reading the annotation file",
        source,
    })??;
    let numbers: BTreeMap<String, i64> = described.labels.iter().cloned().zip(1..).collect();
    let numbered = described.labels.iter().zip(1..);
    let set = class_set(&options.dataset, numbered.map(|(name, id)| (id, name)));
    if !set.classes.is_empty() {
        add_class_set(store, "ingest cvat", &set, "cvat").await?;
    }
    progress.start("images", Some(described.images));
    let context = Context {
        root,
        numbers,
        kinds: described.kinds,
        options: options.clone(),
    };
    let read = move |item: CvatImage| read_item(&context, &item);
    let list = move |each: &mut dyn FnMut(CvatImage) -> bool| {
        CvatFile::open(&path)?.each_image(|image| Ok(each(image)))
    };
    let operation = "ingest cvat";
    let done = pipeline::run_listed(store, operation, options, list, read, progress).await;
    progress.finish();
    done
}

impl fmt::Display for CvatImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The directory that names of images are relative to.
fn photos_root(file: &Path, asked: Option<&Path>) -> Result<Root> {
    if let Some(asked) = asked {
        return Root::new(asked);
    }
    let beside = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let images = beside.join(cvat::IMAGES);
    Root::new(if images.is_dir() { &images } else { beside })
}

/// Data shared by all workers.
struct Context {
    root: Root,
    /// Number of each label, from 1 on.
    numbers: BTreeMap<String, i64>,
    /// Type of each attribute, by label and name.
    kinds: BTreeMap<(String, String), String>,
    options: IngestOptions,
}

fn read_item(context: &Context, item: &CvatImage) -> Result<Outcome> {
    let mut options = context.options.clone();
    if options.split.is_none() {
        options.split.clone_from(&item.subset);
        if let Some(split) = &options.split {
            check_name("split", split)?;
        }
    }
    // CVAT has the photos of a subset in a folder of its name.
    let subset = item
        .subset
        .as_ref()
        .map(|subset| format!("{subset}/{}", item.name));
    let in_subset = subset.filter(|name| context.root.join(name).is_ok_and(|path| path.exists()));
    let name = in_subset.unwrap_or_else(|| item.name.clone());
    let (image, info) = read_photo(&context.root, &name, &options)?;
    if (image.width, image.height) != (item.width, item.height) {
        return Err(Error::Annotation {
            reason: format!(
                "the file is of an image of {} x {} pixels, and the photo has {} x {}",
                item.width, item.height, image.width, image.height
            ),
        });
    }
    let size = image.size();
    let mut failures: Vec<FailureRow> = taken_otherwise(&image, &info).into_iter().collect();
    let mut record = Record {
        image,
        labels: Vec::new(),
        ground_truth: None,
    };
    let mut objects: Vec<Found> = Vec::new();
    for (shape, number) in item.shapes.iter().zip(1..) {
        let label = shape.label();
        if shape.kind == "tag" {
            record.add_label(label, "cvat");
            continue;
        }
        let taken = drawn(shape, size).and_then(|drawn| {
            let found = Found::new(context, shape, drawn)?;
            match objects.iter_mut().find(|other| other.is_part(&found)) {
                Some(whole) => whole.add(found, size),
                None => {
                    objects.push(found);
                    Ok(())
                }
            }
        });
        match taken {
            Ok(()) => record.add_label(label, "cvat"),
            Err(err) => {
                let reason = format!("shape {number}, a {} of '{label}': {err}", shape.kind);
                failures.push(failure_of(&record.image, &item.name, &reason));
            }
        }
    }
    let mut rows = Vec::with_capacity(objects.len());
    for found in objects {
        let (annotation, label) = found.annotation();
        let row = ground_truth_row(&record.image, annotation, &label, rows.len())?;
        rows.push(row);
    }
    record.ground_truth = Some(rows);
    Ok(Outcome::read(record, failures))
}

/// An object: a shape, or several of one group.
struct Found {
    label: String,
    number: i64,
    group: Option<i64>,
    drawn: Drawn,
    extra: Map<String, Value>,
}

impl Found {
    fn new(context: &Context, shape: &Shape, drawn: Drawn) -> Result<Self> {
        let label = shape.label().to_owned();
        let number = context.numbers.get(&label).copied();
        let number = number.ok_or(Error::Internal {
            what: "a label of a shape is not among those of its file",
        })?;
        let whole = |key: &str| shape.get(key).and_then(|text| text.parse::<i64>().ok());
        let mut attributes = Map::new();
        for (name, text) in &shape.attributes {
            let kind = context.kinds.get(&(label.clone(), name.clone()));
            attributes.insert(name.clone(), value(kind.map(String::as_str), text));
        }
        if shape.get(cvat::OCCLUDED) == Some("1") {
            attributes.insert(cvat::OCCLUDED.to_owned(), true.into());
        }
        let mut extra = Map::new();
        if !attributes.is_empty() {
            extra.insert(cvat::ATTRIBUTES.to_owned(), attributes.into());
        }
        for key in [cvat::Z_ORDER, cvat::GROUP_ID] {
            if let Some(number) = whole(key).filter(|number| *number != 0) {
                extra.insert(key.to_owned(), number.into());
            }
        }
        if let Some(source) = shape.get(cvat::SOURCE) {
            extra.insert(cvat::SOURCE.to_owned(), source.into());
        }
        Ok(Self {
            number,
            label,
            group: whole(cvat::GROUP_ID).filter(|group| *group != 0),
            drawn,
            extra,
        })
    }

    /// Whether a shape belongs to this object.
    fn is_part(&self, other: &Self) -> bool {
        self.group.is_some() && self.group == other.group && self.label == other.label
    }

    fn add(&mut self, part: Self, size: Size) -> Result<()> {
        let own = std::mem::replace(&mut self.drawn, Drawn::Box([0.0; 4]));
        self.drawn = match (own, part.drawn) {
            (Drawn::Box(own), Drawn::Box(other)) => {
                let [left, top] = [own[0].min(other[0]), own[1].min(other[1])];
                let right = (own[0] + own[2]).max(other[0] + other[2]);
                let bottom = (own[1] + own[3]).max(other[1] + other[3]);
                Drawn::Box([left, top, right - left, bottom - top])
            }
            (own, other) => {
                let (own, other) = (own.into_mask(size)?, other.into_mask(size)?);
                Drawn::Mask(own.union(&other)?, None)
            }
        };
        Ok(())
    }

    fn annotation(self) -> (Annotation, String) {
        let (segmentation, bbox) = self.drawn.annotated();
        let annotation = Annotation {
            id: None,
            category_id: self.number,
            segmentation,
            area: None,
            bbox,
            iscrowd: false,
            extra: self.extra,
        };
        (annotation, self.label)
    }
}

/// The value of an attribute, by its type in the file.
fn value(kind: Option<&str>, text: &str) -> Value {
    match kind {
        Some("checkbox") if text == "true" || text == "false" => (text == "true").into(),
        Some("number") => match text.parse::<i64>() {
            Ok(whole) => whole.into(),
            Err(_) => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => number.into(),
                _ => text.into(),
            },
        },
        _ => text.into(),
    }
}
