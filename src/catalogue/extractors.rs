//! Extractors and embedders by id or name.

use serde::Deserialize;

use super::by_id;
use crate::error::{CatalogueError, Named};
use crate::ids::EmbedderId;
use crate::schema::Table;
use crate::store::Snapshot;
use crate::store::rows::{ExtractorRow, Row, collect, decode};
use crate::{Error, Result};

/// Every extractor in the store.
///
/// # Errors
/// Any error from the store.
pub async fn extractors_stored(snapshot: &Snapshot) -> Result<Vec<ExtractorRow>> {
    collect(snapshot.scan(ExtractorRow::TABLE).await?).await
}

/// Finds the extractor whose id begins with `word`; without a word, the only one whose masks have embeddings.
///
/// # Errors
/// [`CatalogueError`] if there is none, or more than one; errors from the store.
pub async fn find_extractor(snapshot: &Snapshot, word: Option<&str>) -> Result<ExtractorRow> {
    let stored = extractors_stored(snapshot).await?;
    let kind = Named::Extractor;
    let name =
        |row: &ExtractorRow| format!("{} ({}, {})", row.extractor_id, row.model(), row.checkpoint);
    if let Some(word) = word {
        return by_id(kind, word, &stored, |row| row.extractor_id.as_str(), name).cloned();
    }
    let of_models: Vec<&ExtractorRow> = stored
        .iter()
        .filter(|row| !row.kind.is_imported())
        .collect();
    match of_models[..] {
        [only] => Ok(only.clone()),
        [] => Err(Error::Catalogue(CatalogueError::Empty { kind })),
        _ => Err(Error::Catalogue(CatalogueError::Choose {
            kind,
            found: of_models.into_iter().map(name).collect(),
        })),
    }
}

/// Finds the id of the embedder of a name, or of the embedder whose id begins with `word`.
///
/// # Errors
/// [`CatalogueError`] if there is none, or more than one; errors from the store.
pub async fn find_embedder(snapshot: &Snapshot, word: &str) -> Result<EmbedderId> {
    #[derive(Deserialize)]
    struct Embedder {
        embedder_id: EmbedderId,
        embedder: String,
    }
    let scan = snapshot.scan(Table::Embedders).await?;
    let mut stored = Vec::new();
    for batch in scan
        .project(&["embedder_id", "embedder"])?
        .collect()
        .await?
    {
        stored.extend(decode::<Embedder>(Table::Embedders, &batch)?);
    }
    if let Some(row) = stored.iter().find(|row| row.embedder == word) {
        return Ok(row.embedder_id.clone());
    }
    let found = by_id(
        Named::Embedder,
        word,
        &stored,
        |row| row.embedder_id.as_str(),
        |row| row.embedder.clone(),
    )?;
    Ok(found.embedder_id.clone())
}
