//! `export coco`: a COCO data set, or a list of COCO results.
//!
//! Objects are written as they come from the store, one a line, so memory does not grow with them. The file is read
//! back ([`super::validate`]) before it takes its place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::Datelike;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::categories::Category;
use super::file::{JsonFile, Unfinished};
use super::images::ExportImage;
use super::object::{Object, ObjectKind};
use super::request::{ExportRequest, MaskStyle};
use super::source::{Objects, Origin, Source};
use super::validate::{Expected, check_dataset, check_results};
use crate::coco::{Counts, Segmentation};
use crate::geometry::{Rle, Size, polygons_from_rle};
use crate::progress::Progress;
use crate::store::Snapshot;
use crate::{Error, Result};

/// What kind of COCO file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CocoFormat {
    /// `info`, `licenses`, `images`, `categories` and `annotations`.
    #[default]
    Dataset,
    /// A list of detections with scores, as `COCO.loadRes` reads it.
    Results,
}

/// What an export wrote, and what it left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ExportSummary {
    /// The file or directory.
    pub file: PathBuf,
    /// Directory that file names of images are below.
    pub images_root: PathBuf,
    /// Images.
    pub images: u64,
    /// Of those the ones that have a new id, since their data set gave none.
    pub new_image_ids: u64,
    /// Categories.
    pub categories: u64,
    /// Annotations or detections.
    pub annotations: u64,
    /// Left out: objects of classes that are not exported.
    pub of_other_classes: u64,
    /// Left out: masks without a pixel.
    pub without_pixels: u64,
    /// Left out: void regions, which COCO has no word for.
    pub void_regions: u64,
    /// Left out: annotated boxes without a mask, where masks alone are written.
    pub without_mask: u64,
    /// Size of the file, bytes.
    pub bytes: u64,
    /// Items that could not be written; each was told as it came up.
    pub failed: u64,
}

/// One of `annotations`, as it is written and read back.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CocoAnnotation {
    pub id: i64,
    pub image_id: i64,
    pub category_id: i64,
    pub segmentation: Segmentation,
    pub area: f64,
    pub bbox: [f64; 4],
    pub iscrowd: u8,
    #[serde(flatten)]
    pub extra: Extra,
}

/// Keys beyond COCO's own.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Extra {
    /// Of a mask that a head keeps.
    Predicted {
        score: f64,
        entropy: f32,
        predicted_iou: f32,
        stability_score: f32,
        mask_index: i32,
        extractor_id: String,
    },
    /// What the data set said.
    Attributes(Map<String, Value>),
}

/// A detection, as it is written and read back.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CocoDetection {
    pub image_id: i64,
    pub category_id: i64,
    pub segmentation: Segmentation,
    pub score: f64,
}

/// Writes the objects that a request asks for to a file.
///
/// Masks are spelt in `style`; by default masks of a head as RLE, annotated objects as they were annotated. Crowds are
/// RLE in any case, as COCO has it.
///
/// # Errors
/// As [`Source::open`]; [`Error::InvalidOption`] for results of annotated objects; [`Error::File`];
/// [`Error::ExportInvalid`] if what was written is not what it should be. What lay at `file` then stays.
pub async fn export_coco(
    snapshot: &Snapshot,
    request: &ExportRequest,
    format: CocoFormat,
    style: Option<MaskStyle>,
    file: &Path,
    progress: &dyn Progress,
) -> Result<ExportSummary> {
    let source = Source::open(snapshot, request).await?;
    let extractor_id = match (&source.origin, format) {
        (Origin::Head { head, .. }, _) => head.extractor_id.to_string(),
        (Origin::GroundTruth { .. }, CocoFormat::Dataset) => String::new(),
        (Origin::GroundTruth { .. }, CocoFormat::Results) => {
            return Err(Error::InvalidOption {
                what: "format of annotated objects",
                value: "results".to_owned(),
                expected: "dataset; results are what a head found".to_owned(),
            });
        }
    };
    let header = header(&source);
    let (images, categories) = (source.images.clone(), source.categories.clone());
    let mut summary = ExportSummary {
        file: file.to_owned(),
        images_root: images.root.clone(),
        images: images.images.len() as u64,
        new_image_ids: images.new_ids,
        categories: categories.len() as u64,
        ..ExportSummary::default()
    };
    let new = Unfinished::new(file)?;
    let work = move |objects: Objects, progress: &dyn Progress| {
        let mut writer = Writer {
            out: new.create_json()?,
            images: &images.images,
            categories: &categories,
            style,
            extractor_id,
            summary: &mut summary,
        };
        match format {
            CocoFormat::Dataset => writer.dataset(&header, objects, progress)?,
            CocoFormat::Results => writer.results(objects, progress)?,
        }
        let expected = Expected {
            images: &images.images,
            categories: &categories,
            annotations: summary.annotations,
        };
        match format {
            CocoFormat::Dataset => check_dataset(new.path(), &expected, progress)?,
            CocoFormat::Results => check_results(new.path(), &expected, progress)?,
        }
        summary.bytes = new.finish()?;
        Ok(summary)
    };
    let done = source.with_objects(progress, work).await;
    progress.finish();
    done
}

/// `info`: what the file is, and everything that led to it.
fn header(source: &Source) -> Value {
    let record = source.snapshot().record();
    let (description, lineage) = match &source.origin {
        Origin::Head { head, policy } => (
            format!("masks that head '{}' keeps", head.head),
            json!({
                "head": head.head, "head_id": head.head_id, "extractor_id": head.extractor_id,
                "policy": serde_json::from_str::<Value>(&policy.policy).unwrap_or_default(),
                "policy_id": policy.policy_id,
            }),
        ),
        Origin::GroundTruth { dataset } => (
            format!("annotated objects of data set '{dataset}'"),
            json!({ "dataset": dataset }),
        ),
    };
    json!({
        "description": description,
        "url": "",
        "version": record.version.to_string(),
        "year": record.committed_at.year(),
        "contributor": concat!("grainstore ", env!("CARGO_PKG_VERSION")),
        // Of the state that was read: the same state gives the same file.
        "date_created": record.committed_at.format("%Y-%m-%d %H:%M:%S").to_string(),
        "grainstore": {
            "store_version": record.version,
            "class_set": format!("{}@{}", source.classes.name, source.classes.version),
            "from": lineage,
        },
    })
}

struct Writer<'a> {
    out: JsonFile,
    images: &'a [ExportImage],
    categories: &'a [Category],
    style: Option<MaskStyle>,
    extractor_id: String,
    summary: &'a mut ExportSummary,
}

impl Writer<'_> {
    fn dataset(&mut self, info: &Value, objects: Objects, progress: &dyn Progress) -> Result<()> {
        let mut licenses = Licenses::default();
        let mut images = Vec::with_capacity(self.images.len());
        for image in self.images {
            let mut keys = licenses.number(parse_attributes(image.attributes.as_deref())?);
            keys.insert("id".to_owned(), image.id.into());
            keys.insert("file_name".to_owned(), image.file_name.clone().into());
            keys.insert("width".to_owned(), image.width.into());
            keys.insert("height".to_owned(), image.height.into());
            images.push(keys);
        }
        self.out.text("{\"info\": ")?;
        self.out.json(info)?;
        self.out.text(",\n\"licenses\": ")?;
        self.out.list(licenses.0.values())?;
        self.out.text(",\n\"images\": ")?;
        self.out.list(images)?;
        self.out.text(",\n\"categories\": ")?;
        self.out.list(self.categories)?;
        self.out.text(",\n\"annotations\": [")?;
        progress.start("annotations written", None);
        let mut next = 1;
        self.each(objects, progress, |this, object, category_id| {
            let segmentation = spell(&object, this.style);
            let (id, iscrowd, extra) = match object.kind {
                ObjectKind::Predicted(mask) => (
                    None,
                    false,
                    Extra::Predicted {
                        score: mask.score,
                        entropy: mask.entropy,
                        predicted_iou: mask.predicted_iou,
                        stability_score: mask.stability_score,
                        mask_index: mask.mask_index,
                        extractor_id: this.extractor_id.clone(),
                    },
                ),
                ObjectKind::Annotated(it) => {
                    let attributes = parse_attributes(it.attributes.as_deref())?;
                    (it.id, it.iscrowd, Extra::Attributes(attributes))
                }
            };
            let annotation = CocoAnnotation {
                id: id.unwrap_or(next),
                image_id: this.images.get(object.image).map_or(0, |image| image.id),
                category_id,
                segmentation,
                area: object.area,
                bbox: object.bbox,
                iscrowd: u8::from(iscrowd),
                extra,
            };
            next += 1;
            this.out.json(&annotation)
        })?;
        self.out.text("\n]}\n")?;
        self.out.flush()
    }

    fn results(&mut self, objects: Objects, progress: &dyn Progress) -> Result<()> {
        progress.start("detections written", None);
        self.out.text("[")?;
        self.each(objects, progress, |this, object, category_id| {
            let ObjectKind::Predicted(judged) = &object.kind else {
                return Ok(());
            };
            let detection = CocoDetection {
                image_id: this.images.get(object.image).map_or(0, |image| image.id),
                category_id,
                segmentation: spell(&object, this.style),
                score: judged.score,
            };
            this.out.json(&detection)
        })?;
        self.out.text("\n]\n")?;
        self.out.flush()
    }

    /// Hands over every object that is part of the export with the id of its category, and counts the others.
    fn each(
        &mut self,
        objects: Objects,
        progress: &dyn Progress,
        mut write: impl FnMut(&mut Self, Object, i64) -> Result<()>,
    ) -> Result<()> {
        objects.each(|object| {
            if matches!(&object.kind, ObjectKind::Annotated(it) if it.is_void) {
                self.summary.void_regions += 1;
                return Ok(());
            }
            let Some(category) = object.class.and_then(|class| self.categories.get(class)) else {
                self.summary.of_other_classes += 1;
                return Ok(());
            };
            let is_empty = object.mask.as_ref().is_some_and(Rle::is_empty);
            // An annotated object counts in evaluations even if no pixel shows it.
            if is_empty && matches!(object.kind, ObjectKind::Predicted(_)) {
                self.summary.without_pixels += 1;
                return Ok(());
            }
            self.out.text(if self.summary.annotations == 0 { "\n" } else { ",\n" })?;
            self.summary.annotations += 1;
            progress.advance(1);
            write(self, object, category.id)
        })
    }
}

/// A mask in COCO's words.
fn spell(object: &Object, style: Option<MaskStyle>) -> Segmentation {
    // A box alone: COCO has an empty list of polygons for it.
    let Some(mask) = &object.mask else {
        return Segmentation::Polygons(Vec::new());
    };
    let as_polygon = match (&object.kind, style) {
        // A crowd as polygons would be read as one object.
        (ObjectKind::Annotated(it), _) if it.iscrowd => false,
        (_, Some(style)) => style == MaskStyle::Polygon,
        (ObjectKind::Annotated(it), None) => it.spelling == "polygon",
        (ObjectKind::Predicted(_), None) => false,
    };
    // No outline would be no mask.
    if as_polygon && !mask.is_empty() {
        return Segmentation::Polygons(polygons_from_rle(mask).iter().map(|part| part.to_coco()).collect());
    }
    let Size { height, width } = mask.size();
    Segmentation::Rle {
        size: [height, width],
        counts: Counts::Compressed(mask.to_counts_string()),
    }
}

fn parse_attributes(text: Option<&str>) -> Result<Map<String, Value>> {
    Ok(text.map(serde_json::from_str).transpose()?.unwrap_or_default())
}

/// The licences of images, which the store keeps beside each image, by id.
#[derive(Default)]
struct Licenses(BTreeMap<i64, Value>);

impl Licenses {
    /// Attributes with the licence's id in the place of the licence.
    fn number(&mut self, mut attributes: Map<String, Value>) -> Map<String, Value> {
        let Some(Value::Object(license)) = attributes.get("license") else {
            return attributes;
        };
        let own = license.get("id").and_then(Value::as_i64);
        let whole = Value::Object(license.clone());
        // Data sets may give one id to different licences.
        let without_id = |value: &Value| {
            let mut value = value.clone();
            value["id"] = Value::Null;
            value
        };
        let same = self.0.iter().find(|(_, other)| without_id(other) == without_id(&whole));
        let id = match (same, own) {
            (Some((id, _)), _) => *id,
            (None, Some(own)) if !self.0.contains_key(&own) => own,
            _ => self.0.keys().max().map_or(1, |greatest| greatest + 1),
        };
        let stored = self.0.entry(id).or_insert(whole);
        stored["id"] = id.into();
        attributes.insert("license".to_owned(), id.into());
        attributes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_listed_once() {
        let mut licenses = Licenses::default();
        let image = |license: Value| {
            let Value::Object(map) = json!({"license": license, "date": "x"}) else {
                panic!("no object");
            };
            map
        };
        let by = json!({"id": 4, "name": "BY"});
        assert_eq!(licenses.number(image(by.clone()))["license"], 4);
        assert_eq!(licenses.number(image(by))["license"], 4);
        assert_eq!(licenses.number(image(json!({"id": 4, "name": "SA"})))["license"], 5);
        assert_eq!(licenses.number(image(json!({"id": 7, "name": "SA"})))["license"], 5);
        assert_eq!(licenses.number(image(json!(3)))["license"], 3, "an id without its licence");
        assert_eq!(licenses.0.len(), 2);
        assert_eq!(licenses.0[&5], json!({"id": 5, "name": "SA"}));
    }
}
