//! Rows of `mask_labels`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Row;
use crate::ids::{ExtractorId, HeadId, ImageId, MaskLabelId};
use crate::schema::Table;

/// One statement about one mask; see `schemas/15_mask_labels.sql`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the DDL documents the columns, once
pub struct MaskLabelRow {
    pub mask_label_id: MaskLabelId,
    pub extractor_id: ExtractorId,
    pub image_id: ImageId,
    pub mask_index: i32,
    pub label: Option<String>,
    pub verdict: String,
    pub origin: String,
    pub proof: Option<MaskLabelId>,
    pub score: Option<f32>,
    pub margin: Option<f32>,
    pub reviewer: Option<String>,
    pub queue: Option<String>,
    pub head_id: Option<HeadId>,
    pub seconds: Option<f64>,
    pub created_at: DateTime<Utc>,
}

impl Row for MaskLabelRow {
    const TABLE: Table = Table::MaskLabels;
}
