//! Rows of `predictions`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Row;
use crate::ids::{ExtractorId, HeadId, ImageId, PolicyId};
use crate::schema::Table;

/// One mask with the class that a head predicts; see `schemas/7_predictions.sql`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the DDL documents the columns, once
pub struct PredictionRow {
    pub head_id: HeadId,
    pub policy_id: PolicyId,
    pub image_id: ImageId,
    pub extractor_id: ExtractorId,
    pub mask_index: i32,
    pub class_index: i32,
    pub class: String,
    pub score: f64,
    pub entropy: Option<f32>,
    pub kept: bool,
    pub dropped: Option<String>,
    pub suppressed_by: Option<i32>,
    pub created_at: DateTime<Utc>,
}

impl Row for PredictionRow {
    const TABLE: Table = Table::Predictions;
}
