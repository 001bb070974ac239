//! Embedders in a store: what each has done, and taking one away.

use std::collections::BTreeMap;

use datafusion::prelude::{col, lit};
use serde::{Deserialize, Serialize};

use crate::catalogue::{embedders_stored, find_embedder, heads_stored};
use crate::error::VectorError;
use crate::ids::EmbedderId;
use crate::schema::{StoreTable, Table, VectorTable};
use crate::store::rows::{EmbedderRow, HeadRow, decode};
use crate::store::{Changes, Snapshot, Store};
use crate::{Error, Result};

/// An embedder and what it has done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EmbedderStatus {
    /// Its row.
    #[serde(flatten)]
    pub row: EmbedderRow,
    /// Vectors of masks.
    pub mask_vectors: u64,
    /// Vectors of whole images.
    pub image_vectors: u64,
    /// Images that it is done with, once per extractor.
    pub images: u64,
    /// Seconds in the network and its pooling.
    pub seconds: f64,
}

/// Every embedder in the store with what it has done, oldest first.
///
/// # Errors
/// Any error from the store.
pub async fn embedder_statuses(snapshot: &Snapshot) -> Result<Vec<EmbedderStatus>> {
    #[derive(Deserialize)]
    struct Done {
        embedder_id: EmbedderId,
        seconds: f64,
    }
    let mut done: BTreeMap<EmbedderId, (u64, f64)> = BTreeMap::new();
    let scan = snapshot.scan(Table::Embeddings).await?;
    for batch in scan.project(&["embedder_id", "seconds"])?.collect().await? {
        for row in decode::<Done>(Table::Embeddings, &batch)? {
            let (images, seconds) = done.entry(row.embedder_id).or_default();
            *images += 1;
            *seconds += row.seconds;
        }
    }
    let mut statuses = Vec::new();
    for row in embedders_stored(snapshot).await? {
        let id = &row.embedder_id;
        let (images, seconds) = done.get(id).copied().unwrap_or_default();
        statuses.push(EmbedderStatus {
            mask_vectors: count(snapshot, VectorTable::Masks, id).await?,
            image_vectors: count(snapshot, VectorTable::Images, id).await?,
            images,
            seconds,
            row,
        });
    }
    Ok(statuses)
}

async fn count(snapshot: &Snapshot, table: VectorTable, id: &EmbedderId) -> Result<u64> {
    let table = StoreTable::Vectors(table, id.clone());
    if snapshot.has_table(&table) {
        snapshot.count(table).await
    } else {
        Ok(0)
    }
}

/// Takes an embedder and its vectors out of the store; their files stay until the versions that name them expire.
///
/// # Errors
/// [`crate::error::CatalogueError`] if there is no such embedder; [`crate::error::VectorError::EmbedderInUse`] if a head reads its vectors.
pub async fn remove_embedder(store: &Store, word: &str) -> Result<EmbedderRow> {
    let (_, row) = store
        .commit_with("remove embedder", |head| async move {
            let row = find_embedder(&head, word).await?;
            let id = &row.embedder_id;
            let heads = heads_stored(&head).await?;
            let is_reader = |head: &&HeadRow| head.inputs.contains(id.as_str());
            let reading: Vec<&HeadRow> = heads.iter().filter(is_reader).collect();
            let is_teacher = |head: &HeadRow| {
                let mut pupils = reading.iter();
                pupils.any(|pupil| pupil.teacher_head_id.as_ref() == Some(&head.head_id))
            };
            // A teacher goes with its student.
            let readers = reading.iter().filter(|head| !is_teacher(head));
            let readers: Vec<String> = readers.map(|head| head.head.clone()).collect();
            if !readers.is_empty() {
                return Err(Error::Vectors(VectorError::EmbedderInUse {
                    name: row.embedder.clone(),
                    heads: readers,
                }));
            }
            let mut changes = Changes::new();
            for table in VectorTable::ALL {
                if head.has_table(&StoreTable::Vectors(table, id.clone())) {
                    changes.drop_vectors(table, id);
                }
            }
            let of_embedder = col("embedder_id").eq(lit(id.as_str()));
            changes.delete(Table::Embeddings, of_embedder.clone());
            changes.delete(Table::Embedders, of_embedder);
            Ok((changes, row))
        })
        .await?;
    Ok(row)
}
