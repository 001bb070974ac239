//! Rows of `heads`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Row;
use crate::names::ContentId;
use crate::schema::Table;

/// One trained head; see `schemas/6_heads.sql`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the DDL documents the columns, once
pub struct HeadRow {
    pub head_id: ContentId,
    pub head: String,
    pub extractor_id: ContentId,
    pub class_set: String,
    pub class_set_version: i32,
    pub spec: String,
    /// Empty where a row was read without them.
    #[serde(default, with = "serde_bytes")]
    pub weights: Vec<u8>,
    pub query: String,
    pub store_version: i64,
    pub seed: i64,
    pub parent_head_id: Option<ContentId>,
    pub teacher_head_id: Option<ContentId>,
    pub curves: String,
    pub images_read: i64,
    pub rows_read: i64,
    pub seconds: f64,
    pub device: String,
    pub grainstore_version: String,
    pub created_at: DateTime<Utc>,
}

impl HeadRow {
    /// Its class set with the version, `NAME@VERSION`.
    pub fn class_set_at_version(&self) -> String {
        format!("{}@{}", self.class_set, self.class_set_version)
    }
}

impl Row for HeadRow {
    const TABLE: Table = Table::Heads;
}
