//! Class sets: the classes that a head distinguishes, each with the source labels that map to it.
//!
//! In: files, or labels and categories in the store; out: versioned rows of `class_sets`. A set may use any of the
//! source labels and leave out others, but a label belongs to at most one class. Nothing here reads an image or a mask.

mod add;
mod diff;
mod file;
mod source;

use std::collections::{BTreeSet, HashMap};

use datafusion::prelude::{col, lit};

use crate::catalogue::find_class_set;

pub use add::{Added, add_class_set};
pub use diff::ClassSetDiff;
pub use file::parse_class_file;
pub use source::{classes_of_ground_truth, classes_of_labels};

use crate::error::HeadError;
use crate::ids::check_name;
use crate::store::Snapshot;
use crate::store::rows::{ClassRow, Row, collect};
use crate::{Error, Result};

/// A class: a name, and the source labels that map to it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Class {
    /// Name of the class.
    #[serde(rename = "class")]
    pub name: String,
    /// A coarser category (COCO `categories.supercategory`).
    pub supercategory: Option<String>,
    /// The data set's own category id (COCO `categories.id`).
    pub external_id: Option<i64>,
    /// Labels that map to the class, at least one: values of `labels.label` and `ground_truth.category`.
    pub labels: Vec<String>,
    /// Words to search images with ([`crate::collect`]); empty for the class's name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
}

/// One version of a class set.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ClassSet {
    /// Name of the set.
    #[serde(rename = "class_set")]
    pub name: String,
    /// Number of the version, from 1; 0 while the set is not in a store.
    pub version: i32,
    /// The classes, in the order of a head's outputs.
    pub classes: Vec<Class>,
}

impl ClassSet {
    /// Creates a set that is not in a store yet.
    ///
    /// # Examples
    /// ```
    /// use grainstore::classes::{Class, ClassSet};
    ///
    /// let class = |name: &str, labels: &[&str]| Class {
    ///     name: name.to_owned(),
    ///     supercategory: None,
    ///     external_id: None,
    ///     labels: labels.iter().map(|label| (*label).to_owned()).collect(),
    ///     search: Vec::new(),
    /// };
    /// let classes = vec![class("pet", &["cat", "dog"]), class("person", &["person"])];
    /// let set = ClassSet::new("household", classes)?;
    /// assert_eq!(set.version, 0); // in no store yet
    ///
    /// let claimed_twice = vec![class("cat", &["cat"]), class("pet", &["cat", "dog"])];
    /// assert!(ClassSet::new("household", claimed_twice).is_err());
    /// # Ok::<(), grainstore::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`HeadError::ClassSet`] for a set without classes, a class without labels, a class named twice, or a
    /// label that two classes claim; [`Error::InvalidName`].
    pub fn new(name: &str, classes: Vec<Class>) -> Result<Self> {
        check_name("class set", name)?;
        let fail = |reason: String| {
            Error::Head(HeadError::ClassSet {
                class_set: name.to_owned(),
                reason,
            })
        };
        if classes.is_empty() {
            return Err(fail("it has no classes".to_owned()));
        }
        let mut owners: HashMap<&str, &str> = HashMap::new();
        for (at, class) in classes.iter().enumerate() {
            if class.name.trim().is_empty() {
                return Err(fail(format!("class {} has no name", at + 1)));
            }
            let mut before = classes.iter().take(at);
            if before.any(|other| other.name == class.name) {
                return Err(fail(format!("class '{}' is there twice", class.name)));
            }
            if class.labels.is_empty() {
                return Err(fail(format!("class '{}' has no labels", class.name)));
            }
            for label in &class.labels {
                if let Some(other) = owners.insert(label, &class.name) {
                    return Err(fail(format!(
                        "label '{label}' is claimed by class '{other}' and class '{}'; leave it in one",
                        class.name
                    )));
                }
            }
        }
        Ok(Self {
            name: name.to_owned(),
            version: 0,
            classes,
        })
    }

    /// Loads the newest version of a set or, with `NAME@VERSION`, that version.
    ///
    /// # Errors
    /// [`crate::error::CatalogueError`] if it does not exist; errors of the store.
    pub async fn load(snapshot: &Snapshot, name: &str) -> Result<Self> {
        let found = find_class_set(snapshot, name).await?;
        let stored = stored_rows(snapshot, &found.class_set).await?;
        Self::of_rows(stored, found.version).ok_or(Error::Internal {
            what: "a version of a class set is there without classes",
        })
    }

    /// Loads every version of every set, ordered by name, then by version.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn all(snapshot: &Snapshot) -> Result<Vec<Self>> {
        let mut by_version: std::collections::BTreeMap<(String, i32), Vec<ClassRow>> =
            std::collections::BTreeMap::new();
        for row in collect::<ClassRow>(snapshot.scan(ClassRow::TABLE).await?).await? {
            let key = (row.class_set.clone(), row.version);
            by_version.entry(key).or_default().push(row);
        }
        let sets = by_version.into_iter();
        Ok(sets
            .filter_map(|((_, version), rows)| Self::of_rows(rows, version))
            .collect())
    }

    fn of_rows(rows: Vec<ClassRow>, version: i32) -> Option<Self> {
        let mut rows: Vec<_> = rows
            .into_iter()
            .filter(|row| row.version == version)
            .collect();
        rows.sort_by_key(|row| row.class_index);
        let name = rows.first()?.class_set.clone();
        let class = |row: ClassRow| Class {
            name: row.class,
            supercategory: row.supercategory,
            external_id: row.external_id,
            labels: row.labels,
            search: row.search.unwrap_or_default(),
        };
        Some(Self {
            name,
            version,
            classes: rows.into_iter().map(class).collect(),
        })
    }

    /// Maps each source label to the index of its class.
    pub fn index_by_label(&self) -> HashMap<&str, usize> {
        let pairs = self.classes.iter().enumerate();
        pairs
            .flat_map(|(index, class)| {
                class
                    .labels
                    .iter()
                    .map(move |label| (label.as_str(), index))
            })
            .collect()
    }

    /// For each class, the indices of the classes of another set that its labels map to: none, one, or several if the
    /// other set is finer.
    pub fn places_in(&self, other: &Self) -> Vec<BTreeSet<usize>> {
        let index = other.index_by_label();
        let of = |class: &Class| {
            let labels = class.labels.iter();
            labels
                .filter_map(|label| index.get(label.as_str()).copied())
                .collect()
        };
        self.classes.iter().map(of).collect()
    }

    /// Names of the classes, in order.
    pub fn class_names(&self) -> Vec<String> {
        self.classes
            .iter()
            .map(|class| class.name.clone())
            .collect()
    }
}

/// Rows of every version of a set.
async fn stored_rows(snapshot: &Snapshot, name: &str) -> Result<Vec<ClassRow>> {
    let scan = snapshot.scan(ClassRow::TABLE).await?;
    collect(scan.filter(col("class_set").eq(lit(name)))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn class(name: &str, labels: &[&str]) -> Class {
        Class {
            name: name.to_owned(),
            supercategory: None,
            external_id: None,
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            search: Vec::new(),
        }
    }

    #[test]
    fn a_label_belongs_to_one_class() {
        let set = ClassSet::new(
            "pets",
            vec![class("cat", &["cat", "kitten"]), class("dog", &["dog"])],
        )
        .unwrap();
        assert_eq!(set.index_by_label()["kitten"], 0);
        for (classes, part) in [
            (vec![], "no classes"),
            (vec![class("cat", &[])], "has no labels"),
            (vec![class("", &["x"])], "class 1 has no name"),
            (
                vec![class("cat", &["a"]), class("cat", &["b"])],
                "there twice",
            ),
            (
                vec![class("cat", &["a"]), class("dog", &["a"])],
                "label 'a' is claimed by class 'cat' and class 'dog'",
            ),
        ] {
            let message = ClassSet::new("pets", classes).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        assert!(ClassSet::new("a/b", vec![class("cat", &["cat"])]).is_err());
    }
}
