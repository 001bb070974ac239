//! Rows of `prompts`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Row;
use crate::ids::{ExtractorId, ImageId};
use crate::schema::Table;

/// How a person made one mask; see `schemas/17_prompts.sql`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the DDL documents the columns, once
pub struct PromptRow {
    pub extractor_id: ExtractorId,
    pub image_id: ImageId,
    pub mask_index: i32,
    pub foreground: Vec<f64>,
    pub background: Vec<f64>,
    pub bbox: Option<[f64; 4]>,
    pub edited: bool,
    pub source_extractor_id: Option<ExtractorId>,
    pub source_mask_index: Option<i32>,
    pub reviewer: Option<String>,
    pub seconds: Option<f64>,
    pub created_at: DateTime<Utc>,
}

impl Row for PromptRow {
    const TABLE: Table = Table::Prompts;
}
