//! Class sets by name and version.

use std::fmt;

use serde::Deserialize;

use super::no_such;
use crate::Result;
use crate::error::Named;
use crate::schema::Table;
use crate::store::Snapshot;
use crate::store::rows::decode;

/// One version of a class set. Shown as `NAME@VERSION`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassSetVersion {
    /// Name of the set.
    pub class_set: String,
    /// Version of the set: 1, 2, ...
    pub version: i32,
}

impl fmt::Display for ClassSetVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.class_set, self.version)
    }
}

/// Finds the newest version of the class set of a name, or with `NAME@VERSION` that version.
///
/// # Errors
/// [`crate::error::CatalogueError`] if there is none; errors from the store.
pub async fn find_class_set(snapshot: &Snapshot, word: &str) -> Result<ClassSetVersion> {
    #[derive(Deserialize)]
    struct Version {
        class_set: String,
        version: i32,
    }
    let scan = snapshot.scan(Table::ClassSets).await?;
    let mut stored = Vec::new();
    for batch in scan.project(&["class_set", "version"])?.collect().await? {
        stored.extend(decode::<Version>(Table::ClassSets, &batch)?);
    }
    let (name, version) = match word.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (word, None),
    };
    let versions = stored.iter().filter(|row| row.class_set == name);
    let versions = versions.map(|row| row.version);
    let found = match version {
        None => versions.max(),
        Some(version) => {
            let wanted: Option<i32> = version.parse().ok();
            versions.filter(|found| Some(*found) == wanted).max()
        }
    };
    match found {
        Some(version) => Ok(ClassSetVersion {
            class_set: name.to_owned(),
            version,
        }),
        None => {
            let names = stored.iter().map(|row| match version {
                Some(_) => format!("{}@{}", row.class_set, row.version),
                None => row.class_set.clone(),
            });
            let names: Vec<String> = names.collect();
            let names = names.iter().map(String::as_str);
            Err(no_such(Named::ClassSet, word, names))
        }
    }
}
