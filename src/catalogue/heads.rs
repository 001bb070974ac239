//! Heads by name or id.

use datafusion::logical_expr::Expr;
use datafusion::prelude::{col, lit};

use super::by_id;
use crate::error::Named;
use crate::ids::HeadId;
use crate::store::Snapshot;
use crate::store::rows::{HeadRow, Row, collect};
use crate::{Error, Result};

/// Every head, oldest first, without its weights.
///
/// # Errors
/// What the store says.
pub async fn heads_stored(snapshot: &Snapshot) -> Result<Vec<HeadRow>> {
    let schema = HeadRow::TABLE.schema();
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let columns: Vec<&str> = names.filter(|name| *name != "weights").collect();
    let scan = snapshot.scan(HeadRow::TABLE).await?.project(&columns)?;
    let mut rows: Vec<HeadRow> = collect(scan).await?;
    rows.sort_by_key(|row| row.created_at);
    Ok(rows)
}

/// The newest head of a name, or the one whose id begins so; without its weights.
///
/// # Errors
/// [`crate::error::CatalogueError`] if there is none, or several that it may be; what the store says.
pub async fn find_head(snapshot: &Snapshot, word: &str) -> Result<HeadRow> {
    let rows = heads_stored(snapshot).await?;
    if let Some(row) = rows.iter().rfind(|row| row.head == word) {
        return Ok(row.clone());
    }
    by_id(
        Named::Head,
        word,
        &rows,
        |row| row.head_id.as_str(),
        |row| row.head.clone(),
    )
    .cloned()
}

/// The same head with its weights.
///
/// # Errors
/// As [`find_head`].
pub async fn whole_head(snapshot: &Snapshot, word: &str) -> Result<HeadRow> {
    let head_id = find_head(snapshot, word).await?.head_id;
    let scan = snapshot.scan(HeadRow::TABLE).await?;
    let found: Option<HeadRow> = collect(scan.filter(is_head(&head_id))).await?.pop();
    found.ok_or(Error::Internal {
        what: "a head is there without its weights and not with them",
    })
}

/// The rows of a head, in every table that has `head_id`.
pub(crate) fn is_head(head_id: &HeadId) -> Expr {
    col("head_id").eq(lit(head_id.as_str()))
}
