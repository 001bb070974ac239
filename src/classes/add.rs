//! Adding a class set: a new version, if it differs from the newest one.

use chrono::Utc;

use super::{ClassSet, stored_rows};
use crate::Result;
use crate::store::rows::{ClassRow, Row};
use crate::store::{Changes, Store};

/// Result of adding a class set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Added {
    /// The version that holds the given classes.
    pub version: i32,
    /// Whether the version is new; false if the newest version was the same.
    pub new: bool,
}

/// Adds a version of a class set, unless its newest version is the same.
///
/// `origin` says where the classes come from: `file`, `labels`, `ground-truth`, `coco`, `voc`.
///
/// # Examples
/// ```
/// use grainstore::classes::{Class, ClassSet, add_class_set};
/// # use grainstore::store::{Store, StoreOptions};
///
/// # let dir = tempfile::tempdir()?;
/// # let place = dir.path().to_str().unwrap();
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let store = Store::open_or_create(place, StoreOptions::default()).await?;
/// let pet = Class {
///     name: "pet".to_owned(),
///     supercategory: None,
///     external_id: None,
///     labels: vec!["cat".to_owned(), "dog".to_owned()],
///     search: Vec::new(),
/// };
/// let set = ClassSet::new("household", vec![pet])?;
/// let added = add_class_set(&store, "add classes", &set, "file").await?;
/// assert_eq!((added.version, added.new), (1, true));
///
/// let again = add_class_set(&store, "add classes", &set, "file").await?;
/// assert_eq!((again.version, again.new), (1, false));
/// # Ok::<(), grainstore::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Errors of the store.
pub async fn add_class_set(
    store: &Store,
    operation: &str,
    set: &ClassSet,
    origin: &str,
) -> Result<Added> {
    let commit = store
        .commit(operation, |head| async move {
            let stored = stored_rows(&head, &set.name).await?;
            let mut changes = Changes::new();
            if let Some(rows) = plan_rows(&stored, set, origin) {
                changes.append(ClassRow::TABLE, ClassRow::to_batch(&rows)?);
            }
            Ok(changes)
        })
        .await?;
    let current = ClassSet::load(&commit.snapshot, &set.name).await?;
    Ok(Added {
        version: current.version,
        new: commit.changed,
    })
}

/// The rows of the next version; `None` if the newest version is the same.
fn plan_rows(stored: &[ClassRow], set: &ClassSet, origin: &str) -> Option<Vec<ClassRow>> {
    let newest = stored.iter().map(|row| row.version).max().unwrap_or(0);
    let current = ClassSet::of_rows(stored.to_vec(), newest);
    if current.is_some_and(|current| current.classes == set.classes) {
        return None;
    }
    let created_at = Utc::now();
    let row = |(class, class_index): (&super::Class, i32)| ClassRow {
        class_set: set.name.clone(),
        version: newest + 1,
        class_index,
        class: class.name.clone(),
        supercategory: class.supercategory.clone(),
        external_id: class.external_id,
        labels: class.labels.clone(),
        search: (!class.search.is_empty()).then(|| class.search.clone()),
        origin: origin.to_owned(),
        created_at,
    };
    Some(set.classes.iter().zip(0..).map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::class;
    use super::*;

    #[test]
    fn a_class_set_gets_a_version_only_when_it_changes() {
        let set = |classes| ClassSet::new("pets", classes).unwrap();
        let one = set(vec![class("cat", &["cat"])]);
        let first = plan_rows(&[], &one, "file").unwrap();
        assert_eq!((first[0].version, first.len()), (1, 1));
        assert_eq!(plan_rows(&first, &one, "file"), None);

        let two = set(vec![class("cat", &["cat"]), class("dog", &["dog"])]);
        let second = plan_rows(&first, &two, "file").unwrap();
        assert_eq!((second[1].version, second[1].class_index), (2, 1));
        // Going back to the classes of version 1 is a change, too.
        let stored = [first, second].concat();
        assert_eq!(plan_rows(&stored, &one, "file").unwrap()[0].version, 3);
    }
}
