//! Rows of `failures`.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use datafusion::prelude::{col, lit};
use serde::{Deserialize, Serialize};

use super::{Row, decode};
use crate::ids::{FailureId, ImageId};
use crate::schema::Table;
use crate::store::Snapshot;
use crate::{Error, Result};

/// One item that could not be used; see `schemas/10_failures.sql`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the DDL documents the columns, once
pub struct FailureRow {
    pub failure_id: FailureId,
    pub stage: String,
    pub dataset: Option<String>,
    pub item: String,
    pub image_id: Option<ImageId>,
    pub reason: String,
    pub failed_at: DateTime<Utc>,
}

impl FailureRow {
    /// A failure at the current time. The same failure found again has the same id, and so is the same row.
    pub fn new(stage: &str, dataset: Option<&str>, item: &str, reason: &str) -> Self {
        Self {
            failure_id: FailureId::of_parts([stage, dataset.unwrap_or_default(), item, reason]),
            stage: stage.to_owned(),
            dataset: dataset.map(str::to_owned),
            item: item.to_owned(),
            image_id: None,
            reason: reason.to_owned(),
            failed_at: Utc::now(),
        }
    }

    /// A failure at the current time, with the error's complete chain of causes as its reason.
    pub fn of_error(stage: &str, dataset: Option<&str>, item: &str, err: &Error) -> Self {
        let mut reason = err.to_string();
        let mut source = std::error::Error::source(err);
        while let Some(cause) = source {
            reason = format!("{reason}: {cause}");
            source = cause.source();
        }
        Self::new(stage, dataset, item, &reason)
    }
}

/// The failures that the store has no row for yet.
///
/// # Errors
/// Any error from Lance.
pub async fn unrecorded_failures(
    snapshot: &Snapshot,
    failures: &[FailureRow],
) -> Result<Vec<FailureRow>> {
    #[derive(Deserialize)]
    struct Recorded {
        failure_id: FailureId,
    }
    if failures.is_empty() {
        return Ok(Vec::new());
    }
    let ids = failures
        .iter()
        .map(|row| lit(row.failure_id.as_str()))
        .collect();
    let scan = snapshot
        .scan(Table::Failures)
        .await?
        .project(&["failure_id"])?;
    let mut recorded = HashSet::new();
    for batch in scan
        .filter(col("failure_id").in_list(ids, false))
        .collect()
        .await?
    {
        let rows = decode::<Recorded>(Table::Failures, &batch)?;
        recorded.extend(rows.into_iter().map(|row| row.failure_id));
    }
    let new = failures
        .iter()
        .filter(|row| !recorded.contains(&row.failure_id));
    Ok(new.cloned().collect())
}

impl Row for FailureRow {
    const TABLE: Table = Table::Failures;
}
