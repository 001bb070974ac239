//! Managing stored heads: exporting them to a file, importing them from one, renaming and removing them.

use std::collections::HashMap;
use std::path::Path;

use super::unusable::unusable;
use super::weights::{HeadWeights, LoadedHead};
use crate::catalogue::{find_head, heads_stored, is_head, whole_head};
use crate::error::FileAction;
use crate::error::HeadError;
use crate::ids::check_name;
use crate::schema::Table;
use crate::store::rows::{HeadRow, Row};
use crate::store::{Changes, Store};
use crate::{Error, Result};

/// Metadata key of a head file that holds the head's row, without the weights, as JSON.
const ROW_KEY: &str = "grainstore.head";

/// Encodes a head as a safetensors file, from which [`import_head`] restores it.
///
/// # Errors
/// [`crate::error::HeadError::Unusable`] if it cannot be encoded.
pub fn export_head(head: &LoadedHead) -> Result<Vec<u8>> {
    let row = HeadRow {
        weights: None,
        ..head.row.clone()
    };
    let row = serde_json::to_string(&row)?;
    let metadata = HashMap::from([(ROW_KEY.to_owned(), row)]);
    head.weights.to_safetensors(metadata)
}

/// Imports a head from a file that [`export_head`] made, under its own name or another one.
///
/// # Errors
/// [`Error::File`]; [`crate::error::HeadError::Unusable`] if it is no such file or its head is already in the store;
/// [`crate::error::HeadError::NameTaken`]; [`Error::InvalidName`].
pub async fn import_head(store: &Store, path: &Path, name: Option<&str>) -> Result<HeadRow> {
    let bytes = std::fs::read(path).map_err(Error::file(FileAction::Read, path))?;
    let file = path.display().to_string();
    let (weights, metadata) = HeadWeights::of_safetensors(&file, &bytes)?;
    let row = metadata.get(ROW_KEY).ok_or_else(|| {
        unusable(&file, "it does not say what it was trained on; expected a file that a store's head was exported to")
    })?;
    let mut row: HeadRow =
        serde_json::from_str(row).map_err(|err| unusable(&file, err.to_string()))?;
    if let Some(name) = name {
        row.head = name.to_owned();
    }
    check_name("head", &row.head)?;
    row.weights = Some(weights.to_safetensors(HashMap::new())?);
    let row = HeadRow {
        // Versions of another store mean nothing here.
        store_version: None,
        ..LoadedHead::of_row(row)?.row
    };
    let (new, file) = (&row, &file);
    store
        .commit("heads import", |snapshot| async move {
            let stored = heads_stored(&snapshot).await?;
            if let Some(known) = stored.iter().find(|known| known.head_id == new.head_id) {
                let reason = format!("it is in the store already, as head '{}'", known.head);
                return Err(unusable(file, reason));
            }
            if stored.iter().any(|known| known.head == new.head) {
                return Err(Error::Head(HeadError::NameTaken {
                    name: new.head.clone(),
                }));
            }
            let mut changes = Changes::new();
            changes.append(
                HeadRow::TABLE,
                HeadRow::to_batch(std::slice::from_ref(new))?,
            );
            Ok(changes)
        })
        .await?;
    Ok(row)
}

/// Renames the newest head of a name, or the head of an id; ids stay the same.
///
/// # Errors
/// [`crate::error::CatalogueError`]; [`crate::error::HeadError::NameTaken`]; [`Error::InvalidName`].
pub async fn rename_head(store: &Store, name: &str, new_name: &str) -> Result<HeadRow> {
    check_name("head", new_name)?;
    let commit = store
        .commit("heads rename", |snapshot| async move {
            let row = whole_head(&snapshot, name).await?;
            if heads_stored(&snapshot)
                .await?
                .iter()
                .any(|row| row.head == new_name)
            {
                return Err(Error::Head(HeadError::NameTaken {
                    name: new_name.to_owned(),
                }));
            }
            let mut changes = Changes::new();
            changes.delete(HeadRow::TABLE, is_head(&row.head_id));
            let renamed = HeadRow {
                head: new_name.to_owned(),
                ..row
            };
            changes.append(HeadRow::TABLE, HeadRow::to_batch(&[renamed])?);
            Ok(changes)
        })
        .await?;
    whole_head(&commit.snapshot, new_name).await
}

/// Which heads [`remove_head`] may remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Only heads without predictions.
    Unused,
    /// Heads with their predictions, too.
    Any,
}

/// Removes the newest head of a name, or the head of an id, with its predictions and evaluations; older heads of its
/// name stay. The heads that it was trained from (its student, its teacher) are removed too, unless another head has the
/// same, or they have predictions. Returns the removed heads.
///
/// # Errors
/// [`crate::error::CatalogueError`]; [`crate::error::HeadError::InUse`] if the head has predictions and only
/// unused heads may be removed.
pub async fn remove_head(store: &Store, name: &str, removal: Removal) -> Result<Vec<HeadRow>> {
    let (_, removed) = store
        .commit_with("heads rm", |snapshot| async move {
            let head = find_head(&snapshot, name).await?;
            let is_used = async |head: &HeadRow| {
                let id = head.head_id.as_str();
                snapshot.has_value(Table::Predictions, "head_id", id).await
            };
            if removal == Removal::Unused && is_used(&head).await? {
                return Err(Error::Head(HeadError::InUse { head: head.head }));
            }
            let stored = heads_stored(&snapshot).await?;
            let mut removed = vec![head];
            while let Some(teacher_id) = removed.last().and_then(|it| it.teacher_head_id.as_ref()) {
                let teacher = stored.iter().find(|it| it.head_id == *teacher_id);
                let others = stored
                    .iter()
                    .filter(|it| !removed.iter().any(|gone| gone.head_id == it.head_id));
                let mut others = others.filter_map(|it| it.teacher_head_id.as_ref());
                match teacher {
                    Some(teacher)
                        if others.all(|id| id != teacher_id) && !is_used(teacher).await? =>
                    {
                        removed.push(teacher.clone());
                    }
                    _ => break,
                }
            }
            let mut changes = Changes::new();
            for head in &removed {
                for table in [HeadRow::TABLE, Table::Predictions, Table::Evaluations] {
                    changes.delete(table, is_head(&head.head_id));
                }
            }
            Ok((changes, removed))
        })
        .await?;
    Ok(removed)
}
