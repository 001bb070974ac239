//! Masks as a person is shown them: their pixels, and what was said of them.

use datafusion::prelude::{col, lit};
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use super::statement::MaskKey;
use crate::Result;
use crate::ids::{ExtractorId, ImageId};
use crate::schema::Table;
use crate::store::rows::{MaskLabelRow, RleRow, decode};
use crate::store::{Snapshot, is_of_images};

/// A mask to show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownMask {
    /// `masks.extractor_id`.
    pub extractor_id: ExtractorId,
    /// `masks.image_id`.
    pub image_id: ImageId,
    /// `masks.mask_index`.
    pub mask_index: i32,
    /// The pixels, at the size of the original image.
    pub rle: RleRow,
    /// Bounding box in pixels of the original image, XYWH.
    pub bbox: [f64; 4],
    /// Number of pixels.
    pub area: i64,
    /// The extractor's own estimate of the mask's quality, about [0, 1], if it has one.
    pub predicted_iou: Option<f32>,
}

impl ShownMask {
    /// Its key.
    pub fn key(&self) -> MaskKey {
        MaskKey {
            extractor_id: self.extractor_id.clone(),
            image_id: self.image_id.clone(),
            mask_index: self.mask_index,
        }
    }
}

/// The masks that an extractor has of some images, by image and index.
///
/// # Errors
/// Errors of the store.
pub async fn shown_masks(
    snapshot: &Snapshot,
    extractor_id: &ExtractorId,
    images: &[ImageId],
) -> Result<Vec<ShownMask>> {
    if images.is_empty() {
        return Ok(Vec::new());
    }
    let columns = [
        "extractor_id",
        "image_id",
        "mask_index",
        "rle",
        "bbox",
        "area",
        "predicted_iou",
    ];
    let of_extractor = col("extractor_id").eq(lit(extractor_id.as_str()));
    let scan = snapshot.scan(Table::Masks).await?.project(&columns)?;
    let mut rows = scan
        .filter(of_extractor.and(is_of_images(images)))
        .stream()
        .await?;
    let mut found: Vec<ShownMask> = Vec::new();
    while let Some(batch) = rows.next().await {
        found.extend(decode::<ShownMask>(Table::Masks, &batch?)?);
    }
    found.sort_by_cached_key(|mask| (mask.image_id.clone(), mask.mask_index));
    Ok(found)
}

/// Everything that was ever said of the masks of some images, by whomever, oldest first.
///
/// # Errors
/// Errors of the store.
pub async fn statements_of_images(
    snapshot: &Snapshot,
    images: &[ImageId],
) -> Result<Vec<MaskLabelRow>> {
    if images.is_empty() {
        return Ok(Vec::new());
    }
    let scan = snapshot.scan(Table::MaskLabels).await?;
    let mut rows = scan.filter(is_of_images(images)).stream().await?;
    let mut found: Vec<MaskLabelRow> = Vec::new();
    while let Some(batch) = rows.next().await {
        found.extend(decode::<MaskLabelRow>(Table::MaskLabels, &batch?)?);
    }
    found.sort_by(|a, b| (a.created_at, &a.mask_label_id).cmp(&(b.created_at, &b.mask_label_id)));
    Ok(found)
}
