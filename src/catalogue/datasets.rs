//! Data sets and splits by name.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::no_such;
use crate::error::{CatalogueError, Named};
use crate::schema::Table;
use crate::sql::Sql;
use crate::store::Snapshot;
use crate::store::rows::decode;
use crate::{Error, Result};

/// Categories of the annotated objects, by data set.
pub type Annotated = BTreeMap<String, BTreeSet<String>>;

/// Reads the categories of the annotated objects, by data set. A data set of only void regions has none.
///
/// # Errors
/// Any error from the store.
pub async fn annotated_categories(snapshot: &Snapshot) -> Result<Annotated> {
    #[derive(Deserialize)]
    struct Found {
        dataset: String,
        category: Option<String>,
    }
    let sql = Sql::new(snapshot).await?;
    let mut rows = sql
        .query("SELECT DISTINCT dataset, category FROM ground_truth")
        .await?;
    let mut found = Annotated::new();
    while let Some(batch) = rows.next().await? {
        for row in decode::<Found>(Table::GroundTruth, &batch)? {
            found.entry(row.dataset).or_default().extend(row.category);
        }
    }
    Ok(found)
}

/// Finds the data set of that name, which must have annotations; without a name, the only data set that has some.
///
/// # Errors
/// [`CatalogueError`] if there is none, or if there are several to choose from.
pub fn find_annotated_dataset(annotated: &Annotated, word: Option<&str>) -> Result<String> {
    let kind = Named::AnnotatedDataset;
    let names: Vec<&str> = annotated.keys().map(String::as_str).collect();
    match (word, &names[..]) {
        (_, []) => Err(Error::Catalogue(CatalogueError::Empty { kind })),
        (Some(word), names) if names.contains(&word) => Ok(word.to_owned()),
        (Some(word), names) => Err(no_such(kind, word, names.iter().copied())),
        (None, [only]) => Ok((*only).to_owned()),
        (None, names) => Err(Error::Catalogue(CatalogueError::Choose {
            kind,
            found: names.iter().map(|name| (*name).to_owned()).collect(),
        })),
    }
}

/// Checks that a data set has images, labels or annotations; returns its name.
///
/// # Errors
/// [`CatalogueError`] if it has none; errors from the store.
pub async fn find_dataset(snapshot: &Snapshot, word: &str) -> Result<String> {
    let query = include_str!("../../queries/review/dataset_names.sql");
    one_of(snapshot, Named::Dataset, word, query).await
}

/// Checks that a split has images; returns its name.
///
/// # Errors
/// [`CatalogueError`] if it has none; errors from the store.
pub async fn find_split(snapshot: &Snapshot, word: &str) -> Result<String> {
    let query = "SELECT DISTINCT split AS name FROM images WHERE split IS NOT NULL";
    one_of(snapshot, Named::Split, word, query).await
}

/// Checks that `word` is among the names that a query yields; returns it.
async fn one_of(snapshot: &Snapshot, kind: Named, word: &str, query: &str) -> Result<String> {
    #[derive(Deserialize)]
    struct Name {
        name: String,
    }
    let sql = Sql::new(snapshot).await?;
    let mut rows = sql.query(query).await?;
    let mut names = BTreeSet::new();
    while let Some(batch) = rows.next().await? {
        let found = decode::<Name>(Table::Images, &batch)?;
        names.extend(found.into_iter().map(|row| row.name));
    }
    if names.contains(word) {
        Ok(word.to_owned())
    } else {
        Err(no_such(kind, word, names.iter().map(String::as_str)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_set_with_annotations_is_found_or_asked_for() {
        let of = |names: &[&str]| -> Annotated {
            let names = names.iter().map(|name| (*name).to_owned());
            names.map(|name| (name, BTreeSet::new())).collect()
        };
        let find = find_annotated_dataset;
        assert_eq!(find(&of(&["coco"]), None).unwrap(), "coco");
        assert_eq!(find(&of(&["coco", "voc"]), Some("voc")).unwrap(), "voc");
        for (word, names, part) in [
            (None, &[][..], "no data sets with annotations yet"),
            (None, &["a", "b"][..], "choose one: a, b"),
            (
                Some("c"),
                &["a"][..],
                "no data set with annotations 'c'; there are 'a'",
            ),
        ] {
            let message = find(&of(names), word).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
