//! `export hugging-face`: a directory that Hugging Face's `datasets` loads.
//!
//! ```text
//! README.md                   the card: which files are of which split
//! data/SPLIT-NNNNN.parquet    a row for each image: the photo, and its objects as a list
//! ```
//!
//! The types of the columns ("features") are in the files' metadata: the photo is an `Image`, the class of an object a `ClassLabel`. A
//! mask is what pycocotools decodes: `size` and compressed `counts`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use datafusion::parquet::arrow::ArrowWriter;
use serde::Serialize;
use serde_bytes::ByteBuf;
use serde_json::{Value, json};

use super::coco::ExportSummary;
use super::file::Unfinished;
use super::object::{Object, ObjectKind};
use super::parquet::encoding;
use super::photos::{FORMATS, copy, plan_names, write_images};
use super::request::ExportRequest;
use super::source::{Objects, Source};
use crate::error::FileAction;
use crate::geometry::Rle;
use crate::ids::check_name;
use crate::progress::Progress;
use crate::selection::SelectedImage;
use crate::store::Snapshot;
use crate::{Error, Result};

/// Folder of the files.
const DATA: &str = "data";
/// The card.
const CARD: &str = "README.md";
/// The split that `datasets` takes for all of them.
const ALL: &str = "all";
/// Split of images that have none.
const NO_SPLIT: &str = "train";
/// Bytes of photos and objects after which a group of rows is written; readers have one group in memory.
const GROUP_BYTES: usize = 32 << 20;
/// Bytes of an object without its run lengths.
const OBJECT_BYTES: usize = size_of::<ObjectEntry>();
/// Bytes after which a new file is begun.
const FILE_BYTES: usize = 512 << 20;

/// A request for a directory of Hugging Face's `datasets`.
#[derive(Debug, Clone, Default)]
pub struct HuggingFaceExport {
    /// What is exported.
    pub export: ExportRequest,
    /// The directory to write. It must be empty or new.
    pub directory: PathBuf,
}

/// Writes a directory that `datasets.load_dataset` loads. It appears when it is complete.
///
/// Photos are in the files: upright ones as they are, all others as JPEG.
///
/// # Errors
/// Errors of the catalogue and the store, as of [`export_coco`](super::export_coco); [`Error::SplitName`] for splits whose names
/// become the same or mean something else; [`Error::File`], [`Error::EncodeParquet`]. Photos that cannot be read are counted as failed.
pub async fn export_hugging_face(
    snapshot: &Snapshot,
    request: &HuggingFaceExport,
    progress: &dyn Progress,
) -> Result<ExportSummary> {
    let directory = &request.directory;
    let source = Source::open(snapshot, &request.export).await?;
    let new = Unfinished::new(directory)?;
    new.create_directory()?;
    source.verify(progress).await?;
    let mut summary = ExportSummary::of(&source, directory);
    let (images, categories) = (source.images.images.clone(), source.categories.clone());
    let files = snapshot.store().photos();
    let work = move |objects: Objects, progress: &dyn Progress| {
        progress.start("images", Some(images.len() as u64));
        let folder = new.path().join(DATA);
        fs::create_dir_all(&folder).map_err(Error::file(FileAction::Create, &folder))?;
        let names = categories.iter().map(|it| it.name.as_str());
        let schema = schema(&names.collect::<Vec<_>>());
        let mut splits = BTreeMap::new();
        for (split, name) in split_names(&images)? {
            splits.insert(split, SplitFiles::new(&folder, &name, schema.clone()));
        }
        let stems = plan_names(&images);
        let mut next_id = 0;
        write_images(
            objects,
            &images,
            &mut summary,
            progress,
            |at, image, objects, counted| {
                let (bytes, ending) = copy(&files, image, &FORMATS)?;
                let stem = stems.get(at).map_or("", String::as_str);
                let row = ImageEntry {
                    image: Photo {
                        bytes: ByteBuf::from(bytes),
                        path: format!("{stem}.{ending}"),
                    },
                    image_id: image.id,
                    file_name: image.file_name.clone(),
                    width: image.width,
                    height: image.height,
                    objects: objects
                        .iter()
                        .filter_map(|object| {
                            counted.take(object, &categories)?;
                            Some(entry(object))
                        })
                        .collect(),
                };
                Ok(row)
            },
            |at, mut row| {
                for object in &mut row.objects {
                    next_id += 1;
                    object.id.get_or_insert(next_id);
                }
                let split = images.get(at).map(split_of);
                let split = split.and_then(|split| splits.get_mut(split));
                let split = split.ok_or(Error::Internal {
                    what: "an image of a split that is not among those of the export",
                })?;
                split.push(row)
            },
        )?;
        let mut written = Vec::new();
        for split in splits.into_values() {
            written.push((split.name.clone(), split.finish()?));
        }
        let card = new.path().join(CARD);
        fs::write(&card, card_text(&written)).map_err(Error::file(FileAction::Write, &card))?;
        summary.bytes = new.finish()?;
        Ok(summary)
    };
    let done = source.with_objects(progress, work).await;
    progress.finish();
    done
}

fn split_of(image: &SelectedImage) -> &str {
    image.split.as_deref().unwrap_or(NO_SPLIT)
}

/// The names that splits have in the files: of letters, digits, '_' and '.', as `datasets` wants them.
fn split_names(images: &[SelectedImage]) -> Result<BTreeMap<String, String>> {
    let mut names = BTreeMap::new();
    for split in images.iter().map(split_of) {
        if !names.contains_key(split) {
            check_name("split", split)?;
            let name = split.replace('-', "_");
            if let Some((other, _)) = names.iter().find(|(_, known)| **known == name) {
                return Err(Error::SplitName {
                    split: split.to_owned(),
                    reason: format!("is '{other}' to Hugging Face, which tells no '-' from '_'"),
                });
            }
            if name == ALL {
                return Err(Error::SplitName {
                    split: split.to_owned(),
                    reason: "means all splits to Hugging Face".to_owned(),
                });
            }
            names.insert(split.to_owned(), name);
        }
    }
    Ok(names)
}

#[derive(Debug, Serialize)]
struct ImageEntry {
    image: Photo,
    image_id: i64,
    file_name: String,
    width: i32,
    height: i32,
    objects: Vec<ObjectEntry>,
}

#[derive(Debug, Serialize)]
struct Photo {
    bytes: ByteBuf,
    path: String,
}

#[derive(Debug, Serialize)]
struct ObjectEntry {
    /// That of the data set, or its number among all that are written.
    id: Option<i64>,
    category: Option<i64>,
    bbox: [f64; 4],
    area: f64,
    iscrowd: bool,
    score: Option<f64>,
    segmentation: Option<Mask>,
}

#[derive(Debug, Serialize)]
struct Mask {
    size: [u32; 2],
    counts: String,
}

fn entry(object: &Object) -> ObjectEntry {
    let (id, iscrowd, score) = match &object.kind {
        ObjectKind::Predicted(it) => (None, false, Some(it.score)),
        ObjectKind::Annotated(it) => (it.id, it.iscrowd, None),
    };
    let mask = |mask: &Rle| Mask {
        size: [mask.size().height, mask.size().width],
        counts: mask.to_counts_string(),
    };
    ObjectEntry {
        id,
        category: object.class.and_then(|class| i64::try_from(class).ok()),
        bbox: object.bbox,
        area: object.area,
        iscrowd,
        score,
        segmentation: object.mask.as_ref().map(mask),
    }
}

/// The columns, with the types that `datasets` gives them in the metadata.
fn schema(classes: &[&str]) -> Arc<Schema> {
    let list = |item: DataType| DataType::List(Arc::new(Field::new("item", item, true)));
    let fields = |fields: &[(&str, DataType)]| -> Fields {
        let fields = fields.iter();
        fields
            .map(|(name, kind)| Field::new(*name, kind.clone(), true))
            .collect()
    };
    let photo = DataType::Struct(fields(&[
        ("bytes", DataType::Binary),
        ("path", DataType::Utf8),
    ]));
    // `datasets` takes its types only if fields have the order of the metadata, whose keys are sorted.
    let mask = DataType::Struct(fields(&[
        ("counts", DataType::Utf8),
        ("size", list(DataType::UInt32)),
    ]));
    let object = DataType::Struct(fields(&[
        ("area", DataType::Float64),
        ("bbox", list(DataType::Float64)),
        ("category", DataType::Int64),
        ("id", DataType::Int64),
        ("iscrowd", DataType::Boolean),
        ("score", DataType::Float64),
        ("segmentation", mask),
    ]));
    let columns = fields(&[
        ("image", photo),
        ("image_id", DataType::Int64),
        ("file_name", DataType::Utf8),
        ("width", DataType::Int32),
        ("height", DataType::Int32),
        ("objects", list(object)),
    ]);
    let value = |kind: &str| json!({"dtype": kind, "_type": "Value"});
    let features = json!({
        "image": {"_type": "Image"},
        "image_id": value("int64"),
        "file_name": value("string"),
        "width": value("int32"),
        "height": value("int32"),
        "objects": [{
            "id": value("int64"),
            "category": {"names": classes, "_type": "ClassLabel"},
            "bbox": [value("float64")],
            "area": value("float64"),
            "iscrowd": value("bool"),
            "score": value("float64"),
            "segmentation": {"size": [value("uint32")], "counts": value("string")},
        }],
    });
    let info: Value = json!({"info": {"features": features}});
    let metadata = [("huggingface".to_owned(), info.to_string())];
    Arc::new(Schema::new(columns).with_metadata(metadata.into()))
}

/// The files of a split.
struct SplitFiles {
    folder: PathBuf,
    name: String,
    schema: Arc<Schema>,
    open: Option<(PathBuf, ArrowWriter<File>)>,
    rows: Vec<ImageEntry>,
    /// Bytes of `rows`, and of the open file.
    bytes: usize,
    file_bytes: usize,
    files: usize,
    images: u64,
}

impl SplitFiles {
    fn new(folder: &Path, name: &str, schema: Arc<Schema>) -> Self {
        Self {
            folder: folder.to_owned(),
            name: name.to_owned(),
            schema,
            open: None,
            rows: Vec::new(),
            bytes: 0,
            file_bytes: 0,
            files: 0,
            images: 0,
        }
    }

    fn push(&mut self, row: ImageEntry) -> Result<()> {
        let counts = |it: &ObjectEntry| it.segmentation.as_ref().map_or(0, |it| it.counts.len());
        let objects = row.objects.iter().map(|it| OBJECT_BYTES + counts(it));
        self.bytes += row.image.bytes.len() + objects.sum::<usize>();
        self.images += 1;
        self.rows.push(row);
        if self.bytes >= GROUP_BYTES {
            self.write()?;
        }
        Ok(())
    }

    /// Writes the rows as a group.
    fn write(&mut self) -> Result<()> {
        let (path, mut writer) = match self.open.take() {
            Some(open) => open,
            None => {
                let path = self
                    .folder
                    .join(format!("{}-{:05}.parquet", self.name, self.files));
                let file = File::create(&path).map_err(Error::file(FileAction::Create, &path))?;
                let writer = ArrowWriter::try_new(file, self.schema.clone(), None);
                let writer = writer.map_err(|err| encoding(&path, &err))?;
                self.files += 1;
                (path, writer)
            }
        };
        let fields: &[FieldRef] = self.schema.fields();
        let batch =
            serde_arrow::to_record_batch(fields, &self.rows).map_err(|err| Error::RowCodec {
                table: "export".to_owned(),
                reason: err.message().to_owned(),
            })?;
        let written = writer.write(&batch).and_then(|()| writer.flush());
        written.map_err(|err| encoding(&path, &err))?;
        self.rows.clear();
        self.file_bytes += std::mem::take(&mut self.bytes);
        if self.file_bytes >= FILE_BYTES {
            self.file_bytes = 0;
            writer.close().map_err(|err| encoding(&path, &err))?;
        } else {
            self.open = Some((path, writer));
        }
        Ok(())
    }

    /// Writes what is left; returns the number of images.
    fn finish(mut self) -> Result<u64> {
        if !self.rows.is_empty() || self.files == 0 {
            self.write()?;
        }
        if let Some((path, writer)) = self.open.take() {
            writer.close().map_err(|err| encoding(&path, &err))?;
        }
        Ok(self.images)
    }
}

/// The card: which files are of which split, and how to read it.
fn card_text(splits: &[(String, u64)]) -> String {
    let mut text = String::from(
        "---\ntask_categories:\n- image-segmentation\n- object-detection\nconfigs:\n- config_name: default\n  data_files:\n",
    );
    for (name, _) in splits {
        // In quotes, or '1' would be a number and 'true' no text.
        let _ = writeln!(
            text,
            "  - split: \"{name}\"\n    path: {DATA}/{name}-*.parquet"
        );
    }
    text.push_str("---\n\n# Images with masks\n\nWritten by grainstore.\n\n| split | images |\n| --- | --- |\n");
    for (name, images) in splits {
        let _ = writeln!(text, "| {name} | {images} |");
    }
    text.push_str(
        "\n`objects` has for each object its class, its box (x, y, width, height, in pixels), its area in square pixels, a score if it was \
         predicted, and its mask, which pycocotools decodes:\n\n```python\nfrom datasets import load_dataset\nfrom pycocotools import mask\n\n\
         row = load_dataset(\".\", split=\"SPLIT\")[0]\npixels = mask.decode(row[\"objects\"][0][\"segmentation\"])\n```\n",
    );
    text
}
