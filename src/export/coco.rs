//! `export coco`: a COCO data set, or a list of COCO results.
//!
//! Objects are written in the order in which the store returns them, one per line, so memory does not grow with their
//! number. The file is read back and checked ([`super::validate`]) before it replaces an existing one.

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

/// The kind of COCO file to write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CocoFormat {
    /// A data set: `info`, `licenses`, `images`, `categories` and `annotations`.
    #[default]
    Dataset,
    /// A list of detections with scores, in the form that `COCO.loadRes` reads.
    Results,
}

/// The result of an export: what was written, and what was left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ExportSummary {
    /// The file or directory that was written.
    pub file: PathBuf,
    /// Directory that the images' file names are relative to.
    pub images_root: PathBuf,
    /// Images written.
    pub images: u64,
    /// Images among these that got a new id, because their data set gave none or new ids were requested.
    pub new_image_ids: u64,
    /// Images left out because the head has no predictions for them, although they match the request.
    pub images_without_predictions: u64,
    /// Categories written.
    pub categories: u64,
    /// Annotations or detections written.
    pub annotations: u64,
    /// Objects left out because their class is not exported.
    pub of_other_classes: u64,
    /// Masks left out because they have no pixel.
    pub without_pixels: u64,
    /// Void regions left out, because COCO and most other formats cannot express them.
    pub void_regions: u64,
    /// Crowds left out, because the format cannot express them.
    pub crowds: u64,
    /// Annotated boxes left out because they have no mask and the format holds only masks.
    pub without_mask: u64,
    /// Size of the file in bytes, or of all files of the directory.
    pub bytes: u64,
    /// Items that could not be written. Each was reported when it failed.
    pub failed: u64,
}

impl ExportSummary {
    /// The summary before anything is written.
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

    /// Adds what was counted of some of the objects.
    pub(super) fn add(&mut self, counted: &Self) {
        self.annotations += counted.annotations;
        self.of_other_classes += counted.of_other_classes;
        self.without_pixels += counted.without_pixels;
        self.void_regions += counted.void_regions;
        self.crowds += counted.crowds;
        self.without_mask += counted.without_mask;
    }

    /// Counts an object and returns its category if it is part of the export; otherwise counts why it is left out.
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
            // An annotated object counts in evaluations even if it covers no pixel.
            &mut self.without_pixels
        } else {
            self.annotations += 1;
            return category;
        };
        *counter += 1;
        None
    }
}

impl ExportSummary {
    /// Counts an object for a format without crowds, void regions and empty masks. Returns its class and its mask if it is
    /// part of the export, without a mask if it has only a box and the format holds `boxes`; otherwise counts why it is left
    /// out.
    pub(super) fn take_single<'a>(
        &mut self,
        object: &'a Object,
        boxes: bool,
    ) -> Option<(usize, Option<&'a Rle>)> {
        let is_crowd = matches!(&object.kind, ObjectKind::Annotated(it) if it.iscrowd);
        let mask = object.mask.as_ref();
        let counter = if mask.is_none() && !boxes {
            &mut self.without_mask
        } else if object.is_void() {
            &mut self.void_regions
        } else if is_crowd {
            &mut self.crowds
        } else if mask.is_some_and(Rle::is_empty) {
            &mut self.without_pixels
        } else if let Some(class) = object.class {
            self.annotations += 1;
            return Some((class, mask));
        } else {
            &mut self.of_other_classes
        };
        *counter += 1;
        None
    }
}

/// An entry of `annotations`, as it is written and read back.
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

/// Keys beyond those that COCO defines.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Extra {
    /// Keys of a mask that a head keeps.
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
    /// Keys that the data set itself has.
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
    /// Which annotations of which images to export.
    pub export: ExportRequest,
    /// The kind of file: a data set or a list of results.
    pub format: CocoFormat,
    /// How masks are encoded. If `None`, a head's masks are RLE and annotated objects stay as they were annotated.
    /// Crowds are always RLE, as COCO requires.
    pub style: Option<MaskStyle>,
    /// The file to write.
    pub file: PathBuf,
}

/// Writes the requested objects to a COCO file.
///
/// # Examples
/// ```
/// use grainstore::export::{Annotations, CocoExport, ExportRequest, MaskStyle, export_coco};
/// use grainstore::progress::NoProgress;
/// use grainstore::selection::ImageFilter;
///
/// # async fn example(store: &grainstore::store::Store) -> grainstore::Result<()> {
/// let request = CocoExport {
///     export: ExportRequest {
///         annotations: Annotations::Head {
///             head: "pets".to_owned(),
///             policy: None,
///         },
///         images: ImageFilter::split("test"),
///         ..ExportRequest::default()
///     },
///     style: Some(MaskStyle::Polygon),
///     file: "pets.json".into(),
///     ..CocoExport::default()
/// };
/// let summary = export_coco(&store.snapshot().await?, &request, &NoProgress).await?;
/// println!("{} annotations in '{}'", summary.annotations, summary.file.display());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`crate::error::CatalogueError`] for names that do not exist; [`crate::error::HeadError::ClassSet`] if class sets do not
/// fit together; [`Error::NothingToExport`] if no image is chosen; [`Error::StoreDamaged`] if a file of the store has
/// changed; [`Error::InvalidOption`] if results of annotated objects are
/// requested; [`Error::File`]; [`Error::ExportInvalid`] if the written file fails its check. After any error, an
/// existing file at `file` is unchanged.
pub async fn export_coco(
    snapshot: &Snapshot,
    request: &CocoExport,
    progress: &dyn Progress,
) -> Result<ExportSummary> {
    let (format, style, file) = (request.format, request.style, &request.file);
    let source = Source::open(snapshot, &request.export).await?;
    if let (Origin::GroundTruth { .. }, CocoFormat::Results) = (&source.origin, format) {
        return Err(Error::InvalidOption {
            what: "format of annotated objects",
            value: "results".to_owned(),
            expected: "dataset; results are what a head found".to_owned(),
        });
    }
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

/// The `info` object: a description of the file and everything that it was made from.
fn header(source: &Source) -> Value {
    let record = source.snapshot().record();
    let (description, lineage) = match &source.origin {
        Origin::Head { head, policy, .. } => (
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
        // The time of the commit that was read, so that the same state gives the same file.
        "date_created": record.committed_at.format("%Y-%m-%d %H:%M:%S").to_string(),
        "grainstore": {
            "store_version": record.version,
            "class_set": format!("{}@{}", source.classes.name, source.classes.version),
            "from": lineage,
        },
    })
}
