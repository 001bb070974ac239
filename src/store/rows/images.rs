//! Rows of `images`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Row;
use crate::geometry::Size;
use crate::ids::ImageId;
use crate::schema::Table;

/// One photo; see `schemas/1_images.sql` for units and ranges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the DDL documents the columns, once
pub struct ImageRow {
    pub image_id: ImageId,
    pub file_name: String,
    pub root: String,
    pub width: i32,
    pub height: i32,
    pub orientation: i8,
    pub format: String,
    pub file_bytes: i64,
    pub source: String,
    pub split: Option<String>,
    pub dataset: String,
    pub external_id: Option<i64>,
    pub attributes: Option<String>,
    pub ingested_at: DateTime<Utc>,
}

impl ImageRow {
    /// Height and width in pixels, upright.
    pub fn size(&self) -> Size {
        Size {
            height: self.height.unsigned_abs(),
            width: self.width.unsigned_abs(),
        }
    }
}

impl Row for ImageRow {
    const TABLE: Table = Table::Images;
}
