//! Heads by name or id.

use datafusion::logical_expr::Expr;
use datafusion::prelude::{col, lit};

use super::by_id;
use crate::error::Named;
use crate::ids::HeadId;
use crate::store::Snapshot;
use crate::store::rows::{HeadRow, Row, collect};
use crate::{Error, Result};

/// Every head in the store, oldest first, without its weights.
///
/// # Errors
/// Any error from the store.
pub async fn heads_stored(snapshot: &Snapshot) -> Result<Vec<HeadRow>> {
    let schema = HeadRow::TABLE.schema();
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let columns: Vec<&str> = names.filter(|name| *name != "weights").collect();
    let scan = snapshot.scan(HeadRow::TABLE).await?.project(&columns)?;
    let mut rows: Vec<HeadRow> = collect(scan).await?;
    rows.sort_by_key(|row| row.created_at);
    Ok(rows)
}

/// Finds the newest head of a name, or the head whose id begins with `word`; its weights are not read.
///
/// # Examples
/// ```
/// use grainstore::catalogue::find_head;
///
/// # async fn example(store: &grainstore::store::Store) -> grainstore::Result<()> {
/// let snapshot = store.snapshot().await?;
/// let head = find_head(&snapshot, "pets").await?;
/// println!("{} predicts the classes of {}", head.head_id, head.class_set_at_version());
///
/// let same = find_head(&snapshot, &head.head_id.as_str()[..8]).await?;
/// assert_eq!(same.head_id, head.head_id);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`crate::error::CatalogueError`] if there is none, or more than one; errors from the store.
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

/// Finds a head as [`find_head`] does, and reads its weights, too.
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

/// A filter for the rows of a head, in any table that has `head_id`.
pub(crate) fn is_head(head_id: &HeadId) -> Expr {
    col("head_id").eq(lit(head_id.as_str()))
}
