//! Rows of `evaluations`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Row;
use crate::ids::{EvaluationId, HeadId, PolicyId};
use crate::schema::Table;

/// One metric of an evaluation; see `schemas/9_evaluations.sql`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the DDL documents the columns, once
pub struct EvaluationRow {
    pub evaluation_id: EvaluationId,
    pub query: String,
    pub head_id: HeadId,
    pub policy_id: PolicyId,
    pub dataset: String,
    pub slice: Option<String>,
    pub class: Option<String>,
    pub metric: String,
    pub value: Option<f64>,
    pub ci_low: Option<f64>,
    pub ci_high: Option<f64>,
    pub request: String,
    pub store_version: i64,
    pub created_at: DateTime<Utc>,
    pub query_sha256: Option<String>,
}

impl Row for EvaluationRow {
    const TABLE: Table = Table::Evaluations;
}
