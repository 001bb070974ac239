//! Class sets made from what is in the store: one class per label, or one per category.

use std::collections::HashMap;

use serde::Deserialize;

use super::Class;
use crate::Result;
use crate::query::{Query, QuerySession};
use crate::schema::Table;
use crate::store::{Snapshot, rows};

#[derive(Deserialize)]
struct SourceClass {
    class: String,
    external_id: Option<i64>,
}

/// One class for each image-level label, ordered by name; of one data set, or of all.
///
/// # Errors
/// [`crate::error::CatalogueError`] for a data set that does not exist; errors of the store.
pub async fn classes_of_labels(snapshot: &Snapshot, dataset: Option<&str>) -> Result<Vec<Class>> {
    classes_of(snapshot, "classes/from_labels", Table::Labels, dataset).await
}

/// One class for each category of the ground truth, in the order of the data set's own ids.
///
/// # Errors
/// [`crate::error::CatalogueError`] for a data set that does not exist; errors of the store.
pub async fn classes_of_ground_truth(
    snapshot: &Snapshot,
    dataset: Option<&str>,
) -> Result<Vec<Class>> {
    classes_of(
        snapshot,
        "classes/from_ground_truth",
        Table::GroundTruth,
        dataset,
    )
    .await
}

async fn classes_of(
    snapshot: &Snapshot,
    query: &str,
    table: Table,
    dataset: Option<&str>,
) -> Result<Vec<Class>> {
    let parameters: HashMap<_, _> = dataset
        .map(|dataset| ("dataset".to_owned(), dataset.to_owned()))
        .into_iter()
        .collect();
    let session = QuerySession::new(snapshot).await?;
    let rows = session.run(&Query::named(query)?, &parameters).await?;
    let mut classes = Vec::new();
    for batch in rows.collect().await? {
        for found in rows::decode::<SourceClass>(table, &batch)? {
            classes.push(Class {
                labels: vec![found.class.clone()],
                search: Vec::new(),
                name: found.class,
                supercategory: None,
                external_id: found.external_id,
            });
        }
    }
    Ok(classes)
}
