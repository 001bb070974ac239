//! Rows of `class_sets`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Row;
use crate::schema::Table;

/// One class of one version of a class set; see `schemas/5_class_sets.sql`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the DDL documents the columns, once
pub struct ClassRow {
    pub class_set: String,
    pub version: i32,
    pub class_index: i32,
    pub class: String,
    pub supercategory: Option<String>,
    pub external_id: Option<i64>,
    pub labels: Vec<String>,
    pub origin: String,
    pub created_at: DateTime<Utc>,
    pub search: Option<Vec<String>>,
}

impl Row for ClassRow {
    const TABLE: Table = Table::ClassSets;
}
