//! `export label-studio`: tasks of Label Studio, and the labelling interface that shows them.
//!
//! ```text
//! tasks.json   a task for each image: its address, and its objects as predictions (of a head) or annotations
//! config.xml   the labelling interface: the labels, for brush masks, polygons and boxes
//! ```
//!
//! Masks are brush masks or, if asked for, polygons where one outline has every pixel; objects that have only a box are rectangles.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::coco::ExportSummary;
use super::cvat::text_of;
use super::file::{JsonFile, Unfinished};
use super::object::{Object, ObjectKind};
use super::photos::write_images;
use super::request::ExportRequest;
use super::source::{ImageClasses, Objects, Origin, Source};
use super::writer::parse_attributes;
use crate::error::FileAction;
use crate::formats::{brush, label_studio};
use crate::geometry::{Ring, Rle, polygons_from_rle};
use crate::progress::Progress;
use crate::selection::SelectedImage;
use crate::store::Snapshot;
use crate::{Error, Result};

/// A request for tasks of Label Studio.
#[derive(Debug, Clone, Default)]
pub struct LabelStudioExport {
    /// What is exported.
    pub export: ExportRequest,
    /// Begin of the address of every photo, before its name below its directory; `None` for files that Label Studio reads from a
    /// folder of its own machine (`LOCAL_FILES_DOCUMENT_ROOT`).
    pub address: Option<String>,
    /// Whether masks of one part without holes are polygons, which people can edit by their corners. They are the outlines of the
    /// pixels, and come back pixel for pixel.
    pub polygons: bool,
    /// The directory to write. It must be empty or new.
    pub directory: PathBuf,
}

/// Writes tasks of Label Studio. The directory appears when it is complete.
///
/// Crowds and void regions are left out. Predictions have the name of their head as their version, and the score of every mask.
///
/// # Errors
/// Errors of the catalogue and the store, as of [`export_coco`](super::export_coco); [`Error::File`] if files cannot be written.
pub async fn export_label_studio(
    snapshot: &Snapshot,
    request: &LabelStudioExport,
    progress: &dyn Progress,
) -> Result<ExportSummary> {
    let directory = &request.directory;
    let source = Source::open(snapshot, &request.export.without_ids()).await?;
    let writer = Tasks {
        names: source.categories.iter().map(|it| it.name.clone()).collect(),
        of_images: source.classes_of_images().await?,
        has_choices: AtomicBool::new(false),
        version: match &source.origin {
            Origin::Head { head, .. } => Some(head.head.clone()),
            Origin::GroundTruth { .. } => None,
        },
        address: request.address.as_deref().map(ended),
        polygons: request.polygons,
    };
    let new = Unfinished::new(directory)?;
    new.create_directory()?;
    source.verify(progress).await?;
    let mut summary = ExportSummary::of(&source, directory);
    let images = source.images.images.clone();
    let work = move |objects: Objects, progress: &dyn Progress| {
        progress.start("images", Some(images.len() as u64));
        let mut out = JsonFile::create(&new.path().join(label_studio::FILE))?;
        let mut before = "[\n";
        write_images(
            objects,
            &images,
            &mut summary,
            progress,
            |_, image, objects, counted| {
                let task = writer.task(image, &objects, counted)?;
                Ok(serde_json::to_string(&task)?)
            },
            |_, task| {
                out.text(before)?;
                before = ",\n";
                out.text(&task)
            },
        )?;
        out.text(if summary.images == 0 { "[]\n" } else { "\n]\n" })?;
        out.flush()?;
        let config = new.path().join(label_studio::CONFIG);
        let text = config_xml(&writer.names, writer.has_choices.load(Ordering::Relaxed));
        std::fs::write(&config, text).map_err(Error::file(FileAction::Write, &config))?;
        summary.bytes = new.finish()?;
        Ok(summary)
    };
    let done = source.with_objects(progress, work).await;
    progress.finish();
    done
}

/// An object of a task.
#[derive(Serialize)]
struct Region {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    from_name: &'static str,
    to_name: &'static str,
    /// The size of the image, which what is said of the whole image has not.
    #[serde(flatten)]
    of_image: Option<OfImage>,
    value: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<Value>,
}

#[derive(Serialize)]
struct OfImage {
    original_width: i32,
    original_height: i32,
    image_rotation: i32,
}

/// Makes tasks of images.
struct Tasks {
    names: Vec<String>,
    of_images: ImageClasses,
    /// Whether a task has labels of its whole image.
    has_choices: AtomicBool,
    /// Name of the head, if objects are predicted.
    version: Option<String>,
    address: Option<String>,
    polygons: bool,
}

impl Tasks {
    fn task(
        &self,
        image: &SelectedImage,
        objects: &[Object],
        summary: &mut ExportSummary,
    ) -> Result<Value> {
        let mut regions = Vec::with_capacity(objects.len());
        let mut scores = Vec::new();
        for (object, number) in objects.iter().zip(1..) {
            let Some((class, mask)) = summary.take_single(object, true) else {
                continue;
            };
            let label = self.names.get(class).map_or("", String::as_str);
            let outline = mask.filter(|_| self.polygons).and_then(only_outline);
            let across = 100.0 / f64::from(image.width);
            let down = 100.0 / f64::from(image.height);
            let (kind, from_name, mut value) = match (mask, outline) {
                (Some(_), Some(outline)) => {
                    let points = outline.iter().map(|[x, y]| json!([x * across, y * down]));
                    let points: Vec<Value> = points.collect();
                    let drawn = [("points", points.into()), ("closed", true.into())];
                    let drawn = drawn.map(|(key, value)| (key.to_owned(), value));
                    (
                        "polygonlabels",
                        label_studio::POLYGON,
                        Map::from_iter(drawn),
                    )
                }
                (Some(mask), None) => (
                    "brushlabels",
                    label_studio::BRUSH,
                    Map::from_iter([
                        ("format".to_owned(), "rle".into()),
                        ("rle".to_owned(), brush::encode(mask).into()),
                    ]),
                ),
                (None, _) => {
                    let [x, y, width, height] = object.bbox;
                    let sides = [
                        ("x", x * across),
                        ("y", y * down),
                        ("width", width * across),
                        ("height", height * down),
                        ("rotation", 0.0),
                    ];
                    let sides = sides.map(|(side, share)| (side.to_owned(), Value::from(share)));
                    ("rectanglelabels", label_studio::BOX, Map::from_iter(sides))
                }
            };
            value.insert(kind.to_owned(), vec![label].into());
            let (id, score, meta) = match &object.kind {
                ObjectKind::Predicted(mask) => {
                    scores.push(mask.score);
                    (format!("mask{}", mask.mask_index), Some(mask.score), None)
                }
                ObjectKind::Annotated(it) => {
                    let own = parse_attributes(it.attributes.as_deref())?;
                    let meta = own.get("meta").filter(|meta| meta.is_object());
                    (format!("object{number}"), None, meta.cloned())
                }
            };
            regions.push(Region {
                id,
                kind,
                from_name,
                to_name: label_studio::IMAGE,
                of_image: Some(OfImage {
                    original_width: image.width,
                    original_height: image.height,
                    image_rotation: 0,
                }),
                value,
                score,
                meta,
            });
        }
        let choices = self.of_images.beyond(&image.image_id, objects);
        if !choices.is_empty() {
            self.has_choices.store(true, Ordering::Relaxed);
            let names = choices.iter().filter_map(|class| self.names.get(*class));
            let names: Vec<Value> = names.map(|name| name.as_str().into()).collect();
            regions.push(Region {
                id: "labels".to_owned(),
                kind: "choices",
                from_name: label_studio::CHOICES,
                to_name: label_studio::IMAGE,
                of_image: None,
                value: Map::from_iter([("choices".to_owned(), names.into())]),
                score: None,
                meta: None,
            });
        }
        let mut task = Map::new();
        task.insert(
            "data".to_owned(),
            json!({
                label_studio::IMAGE: self.address_of(&image.file_name),
                "image_id": image.image_id, "dataset": image.dataset, "split": image.split,
            }),
        );
        match &self.version {
            Some(version) => {
                let score = scores.iter().sum::<f64>() / scores.len().max(1) as f64;
                let prediction =
                    json!({"model_version": version, "score": score, "result": regions});
                task.insert("predictions".to_owned(), json!([prediction]));
            }
            None => {
                task.insert(
                    "annotations".to_owned(),
                    json!([{"ground_truth": false, "result": regions}]),
                );
            }
        }
        Ok(task.into())
    }

    fn address_of(&self, name: &str) -> String {
        match &self.address {
            // Label Studio takes the keys of buckets as they are.
            Some(address) if !address.starts_with("http") => format!("{address}{name}"),
            Some(address) => format!("{address}{}", percent_encoded(name)),
            None => format!("{}{}", label_studio::LOCAL_FILES, percent_encoded(name)),
        }
    }
}

/// The begin of addresses, to which a name can be added.
fn ended(address: &str) -> String {
    let end = if address.ends_with(['/', '=']) {
        ""
    } else {
        "/"
    };
    format!("{address}{end}")
}

/// The outline of a mask of one part without holes.
fn only_outline(mask: &Rle) -> Option<Ring> {
    let mut parts = polygons_from_rle(mask).into_iter();
    match (parts.next(), parts.next()) {
        (Some(part), None) if part.holes.is_empty() => Some(part.exterior),
        _ => None,
    }
}

/// A path as part of an address; '/' stays.
fn percent_encoded(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn config_xml(names: &[String], with_choices: bool) -> String {
    let labels: String = names
        .iter()
        .map(|name| format!("    <Label value=\"{}\"/>\n", text_of(name)))
        .collect();
    let choices = if with_choices {
        let choice = |name: &String| format!("    <Choice value=\"{}\"/>\n", text_of(name));
        format!(
            "  <Choices name=\"{}\" toName=\"{}\" choice=\"multiple\">\n{}  </Choices>\n",
            label_studio::CHOICES,
            label_studio::IMAGE,
            names.iter().map(choice).collect::<String>()
        )
    } else {
        String::new()
    };
    format!(
        "<View>\n  <Image name=\"{image}\" value=\"${image}\" zoom=\"true\"/>\n  <BrushLabels name=\"{brush}\" toName=\"{image}\">\n\
         {labels}  </BrushLabels>\n  <PolygonLabels name=\"{polygon}\" toName=\"{image}\">\n{labels}  </PolygonLabels>\n  <RectangleLabels name=\"{boxes}\" toName=\"{image}\">\n{labels}  </RectangleLabels>\n{choices}</View>\n",
        image = label_studio::IMAGE,
        brush = label_studio::BRUSH,
        polygon = label_studio::POLYGON,
        boxes = label_studio::BOX,
    )
}
