//! Rows of `images`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Row;
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

impl Row for ImageRow {
    const TABLE: Table = Table::Images;
}
