//! Rows of `labels`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Row;
use crate::ids::ImageId;
use crate::schema::Table;

/// One image-level label; see `schemas/4_labels.sql`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the DDL documents the columns, once
pub struct LabelRow {
    pub image_id: ImageId,
    pub dataset: String,
    pub label: String,
    pub origin: String,
    pub ingested_at: DateTime<Utc>,
}

impl Row for LabelRow {
    const TABLE: Table = Table::Labels;
}
