//! Converts a COCO annotation to a row of `ground_truth`.

use chrono::Utc;

use serde_json::{Map, Value};

use crate::coco::{Annotation, OUTLINE, Segmentation};
use crate::ids::GroundTruthId;
use crate::store::rows::{GroundTruthRow, ImageRow, RleRow};
use crate::{Error, Result};

/// Converts an annotation of `image` to a row. Polygons are rasterised as in pycocotools.
///
/// `position` is the annotation's position among those of its image. It distinguishes equal annotations without ids.
pub(super) fn ground_truth_row(
    image: &ImageRow,
    annotation: Annotation,
    category: &str,
    position: usize,
) -> Result<GroundTruthRow> {
    let size = image.size();
    let mask = annotation.segmentation.to_rle(size)?;
    let segmentation = annotation.segmentation.kind();
    let bbox = match (annotation.bbox, &mask) {
        (Some(bbox), _) => bbox,
        (None, Some(mask)) => mask.bbox().to_xywh(),
        (None, None) => {
            return Err(Error::Annotation {
                reason: "it has neither a segmentation nor a bbox".to_owned(),
            });
        }
    };
    if bbox[2] < 0.0 || bbox[3] < 0.0 {
        return Err(Error::Annotation {
            reason: format!("bbox {bbox:?} has a negative width or height"),
        });
    }
    let area = match (annotation.area, &mask) {
        (Some(area), _) => area,
        (None, Some(mask)) => mask.area() as f64,
        (None, None) => bbox[2] * bbox[3],
    };
    let mut extra = annotation.extra;
    let mut row = GroundTruthRow {
        ground_truth_id: GroundTruthId::of_bytes(&[]),
        image_id: image.image_id.clone(),
        dataset: image.dataset.clone(),
        external_id: annotation.id,
        category: Some(category.to_owned()),
        category_id: Some(annotation.category_id),
        rle: mask.as_ref().map(RleRow::from),
        bbox,
        area,
        iscrowd: annotation.iscrowd,
        is_ignored: false,
        segmentation: segmentation.to_owned(),
        attributes: text_of(&extra)?,
        ingested_at: Utc::now(),
    };
    row.ground_truth_id = content_id(&row, position);
    // Run lengths cannot hold an outline that covers no pixel; exports need the original.
    let without_pixels = mask.is_some_and(|mask| mask.is_empty());
    if let Segmentation::Polygons(rings) = annotation.segmentation
        && without_pixels
        && !row.iscrowd
    {
        extra.insert(OUTLINE.to_owned(), rings.into());
        row.attributes = text_of(&extra)?;
    }
    Ok(row)
}

fn text_of(extra: &Map<String, Value>) -> Result<Option<String>> {
    if extra.is_empty() {
        Ok(None)
    } else {
        Ok(Some(serde_json::to_string(extra)?))
    }
}

/// The id of a row, computed from its content except for the time of ingest.
pub(super) fn content_id(row: &GroundTruthRow, position: usize) -> GroundTruthId {
    let external_id = match row.external_id {
        Some(id) => format!("id {id}"),
        None => format!("position {position}"),
    };
    GroundTruthId::of_parts([
        row.image_id.as_str(),
        &row.dataset,
        &external_id,
        row.category.as_deref().unwrap_or_default(),
        &format!("{:?}", row.category_id),
        row.rle.as_ref().map_or("", |rle| &rle.counts),
        &format!(
            "{:?} {} {} {}",
            row.bbox, row.area, row.iscrowd, row.is_ignored
        ),
        row.attributes.as_deref().unwrap_or_default(),
    ])
}
