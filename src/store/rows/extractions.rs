//! Rows of `extractors` and `extractions`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Row;
use crate::names::ContentId;
use crate::schema::Table;

/// One way of making masks; see `schemas/2_extractors.sql`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the DDL documents the columns, once
pub struct ExtractorRow {
    pub extractor_id: ContentId,
    pub model_type: String,
    pub checkpoint: String,
    pub checkpoint_sha256: String,
    pub embedding_dim: i32,
    pub options: String,
    pub grainstore_version: String,
    pub created_at: DateTime<Utc>,
}

impl Row for ExtractorRow {
    const TABLE: Table = Table::Extractors;
}

/// One image that an extractor is done with; see `schemas/11_extractions.sql`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the DDL documents the columns, once
pub struct ExtractionRow {
    pub extractor_id: ContentId,
    pub image_id: ContentId,
    pub masks: i32,
    pub seconds: f64,
    pub extracted_at: DateTime<Utc>,
}

impl Row for ExtractionRow {
    const TABLE: Table = Table::Extractions;
}
