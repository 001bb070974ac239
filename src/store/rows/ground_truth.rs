//! Rows of `ground_truth`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Row;
use crate::Result;
use crate::geometry::{Rle, Size};
use crate::ids::{GroundTruthId, ImageId};
use crate::schema::Table;

/// One annotated object; see `schemas/8_ground_truth.sql`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the DDL documents the columns, once
pub struct GroundTruthRow {
    pub ground_truth_id: GroundTruthId,
    pub image_id: ImageId,
    pub dataset: String,
    pub external_id: Option<i64>,
    pub category: Option<String>,
    pub category_id: Option<i64>,
    pub rle: Option<RleRow>,
    pub bbox: [f64; 4],
    pub area: f64,
    pub iscrowd: bool,
    pub is_ignored: bool,
    pub segmentation: String,
    pub attributes: Option<String>,
    pub ingested_at: DateTime<Utc>,
}

impl Row for GroundTruthRow {
    const TABLE: Table = Table::GroundTruth;
}

/// A mask as tables store it: COCO RLE with its size in pixels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // schemas/README.md documents the struct, once
pub struct RleRow {
    pub height: i32,
    pub width: i32,
    pub counts: String,
}

impl From<&Rle> for RleRow {
    fn from(rle: &Rle) -> Self {
        let Size { height, width } = rle.size();
        Self {
            // Ingest refuses images with a side above 2^31.
            height: i32::try_from(height).unwrap_or(i32::MAX),
            width: i32::try_from(width).unwrap_or(i32::MAX),
            counts: rle.to_counts_string(),
        }
    }
}

impl TryFrom<&RleRow> for Rle {
    type Error = crate::Error;

    fn try_from(row: &RleRow) -> Result<Self> {
        let size = Size {
            height: u32::try_from(row.height).unwrap_or_default(),
            width: u32::try_from(row.width).unwrap_or_default(),
        };
        Self::from_counts_str(size, &row.counts)
    }
}
