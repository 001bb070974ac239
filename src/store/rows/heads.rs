//! Rows of `heads`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Row;
use crate::ids::{ExtractorId, HeadId};
use crate::schema::Table;

/// One trained head, or the name of imported predictions; see `schemas/6_heads.sql`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the DDL documents the columns, once
pub struct HeadRow {
    pub head_id: HeadId,
    pub head: String,
    pub extractor_id: ExtractorId,
    pub class_set: String,
    pub class_set_version: i32,
    pub spec: String,
    pub inputs: String,
    pub normalise: String,
    /// `None` also if the row was read without its weights.
    #[serde(default, with = "serde_bytes")]
    pub weights: Option<Vec<u8>>,
    pub query: String,
    pub store_version: Option<i64>,
    pub seed: Option<i64>,
    pub parent_head_id: Option<HeadId>,
    pub teacher_head_id: Option<HeadId>,
    pub curves: String,
    pub images_read: i64,
    pub rows_read: i64,
    pub seconds: f64,
    pub device: Option<String>,
    pub grainstore_version: String,
    pub created_at: DateTime<Utc>,
}

/// `heads.inputs` of a head that reads only `masks.embedding`.
pub const TOKEN_INPUTS: &str = r#"["tokens"]"#;
/// `heads.normalise` of a head that reads one input without normalising it.
pub const AS_IT_IS: &str = r#"["none"]"#;

impl HeadRow {
    /// Whether the head is only a name for imported predictions of another program.
    pub fn is_imported(&self) -> bool {
        self.device.is_none()
    }

    /// Whether the head was made from the names of its classes, without training.
    pub fn is_from_words(&self) -> bool {
        self.query.starts_with("{\"zero_shot\":")
    }

    /// The head's class set and its version, as `NAME@VERSION`.
    pub fn class_set_at_version(&self) -> String {
        format!("{}@{}", self.class_set, self.class_set_version)
    }
}

impl Row for HeadRow {
    const TABLE: Table = Table::Heads;
}
