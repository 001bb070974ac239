//! `export coco`: a COCO data set, or a list of COCO results.
//!
//! Objects are written as they come from the store, one a line, so memory does not grow with them. The file is read
//! back ([`super::validate`]) before it takes its place.

use std::path::{Path, PathBuf};

use chrono::Datelike;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::categories::Category;
use super::file::Unfinished;
use super::object::{Object, ObjectKind};
use super::request::{ExportRequest, MaskStyle};
use super::source::{Objects, Origin, Source};
use super::validate::{Expected, check_dataset, check_results};
use super::writer::Writer;
use crate::coco::Segmentation;
use crate::geometry::Rle;
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
    /// Of those the ones that have a new id: their data set gave none, or new ones were asked for.
    pub new_image_ids: u64,
    /// Left out: images that fit what was asked for, and that the head has no predictions of.
    pub images_without_predictions: u64,
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

impl ExportSummary {
    /// What is known before anything is written.
    pub(super) fn of(source: &Source, file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            images_root: source.images.root.clone(),
            images: source.images.images.len() as u64,
            new_image_ids: source.images.new_ids,
            images_without_predictions: source.images_left_out,
            categories: source.categories.len() as u64,
            ..Self::default()
        }
    }

    /// The category of an object that is part of the export, and counts it; or counts why it is none.
    pub(super) fn take<'a>(
        &mut self,
        object: &Object,
        categories: &'a [Category],
    ) -> Option<&'a Category> {
        let category = object.class.and_then(|class| categories.get(class));
        let is_empty = object.mask.as_ref().is_some_and(Rle::is_empty);
        let counter = if object.is_void() {
            &mut self.void_regions
        } else if category.is_none() {
            &mut self.of_other_classes
        } else if is_empty && matches!(object.kind, ObjectKind::Predicted(_)) {
            // An annotated object counts in evaluations even if no pixel shows it.
            &mut self.without_pixels
        } else {
            self.annotations += 1;
            return category;
        };
        *counter += 1;
        None
    }
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
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entropy: Option<f32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        predicted_iou: Option<f32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stability_score: Option<f32>,
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

/// What to export as COCO JSON.
#[derive(Debug, Clone, Default)]
pub struct CocoExport {
    /// Whose annotations of which images.
    pub export: ExportRequest,
    /// A data set, or a list of results.
    pub format: CocoFormat,
    /// How masks are spelt; none: masks of a head as RLE, annotated objects as they were annotated. Crowds are RLE in any
    /// case, as COCO has it.
    pub style: Option<MaskStyle>,
    /// The file to write.
    pub file: PathBuf,
}

/// Writes the objects that a request asks for to a COCO file.
///
/// # Errors
/// As [`Source::open`] and [`Source::verify`]; [`Error::InvalidOption`] for results of annotated objects; [`Error::File`];
/// [`Error::ExportInvalid`] if what was written is not what it should be. What lay at `file` then stays.
pub async fn export_coco(
    snapshot: &Snapshot,
    request: &CocoExport,
    progress: &dyn Progress,
) -> Result<ExportSummary> {
    let (format, style, file) = (request.format, request.style, &request.file);
    let source = Source::open(snapshot, &request.export).await?;
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
    let mut summary = ExportSummary::of(&source, file);
    let new = Unfinished::new(file)?;
    source.verify(progress).await?;
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
