//! Extractors and embedders by id or name.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::by_id;
use crate::error::{CatalogueError, Named};
use crate::ids::ExtractorId;
use crate::photo::{Channels, Decoding, Percentiles, Rendering};
use crate::store::Snapshot;
use crate::store::rows::{EmbedderRow, ExtractorKind, ExtractorRow, Row, collect};
use crate::{Error, Result};

/// Every extractor in the store.
///
/// # Errors
/// Any error from the store.
pub async fn extractors_stored(snapshot: &Snapshot) -> Result<Vec<ExtractorRow>> {
    collect(snapshot.scan(ExtractorRow::TABLE).await?).await
}

/// How the photos of an extractor's masks were decoded, and are to be decoded again. The photos of imported masks are decoded
/// as by default.
///
/// # Errors
/// Any error from the store.
pub async fn decoding_of(snapshot: &Snapshot, extractor_id: &ExtractorId) -> Result<Decoding> {
    let stored = extractors_stored(snapshot).await?;
    let own = stored.iter().find(|row| row.extractor_id == *extractor_id);
    Ok(own.map_or_else(Decoding::default, decoding_by))
}

/// As [`decoding_of`], for an extractor that need not be stored.
pub fn decoding_by(extractor: &ExtractorRow) -> Decoding {
    /// Those of an extractor's options that say how photos are decoded.
    #[derive(Deserialize, Default)]
    struct OfPhotos {
        tile: Option<IgnoredAny>,
        channels: Option<Channels>,
        percentiles: Option<Percentiles>,
    }
    let of_photos: OfPhotos = serde_json::from_str(&extractor.options).unwrap_or_default();
    let rendering = Rendering {
        channels: of_photos.channels,
        percentiles: of_photos.percentiles,
    };
    Decoding::of_extractor(rendering, of_photos.tile.is_some())
}

/// The extractors that are meant where none is named: every one, masks that people added aside if there are others.
///
/// # Errors
/// Any error from the store.
pub async fn extractors_to_choose(snapshot: &Snapshot) -> Result<Vec<ExtractorRow>> {
    Ok(without_prompted(extractors_stored(snapshot).await?))
}

fn without_prompted(mut stored: Vec<ExtractorRow>) -> Vec<ExtractorRow> {
    if stored.len() > 1 {
        stored.retain(|row| row.kind != ExtractorKind::Prompted);
    }
    stored
}

/// Finds the extractor whose id begins with `word`; without a word, the only one whose masks have embeddings, masks that
/// people added aside.
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
    let stored = without_prompted(stored);
    let of_models: Vec<&ExtractorRow> = stored
        .iter()
        .filter(|row| !row.kind.is_imported())
        .collect();
    match of_models[..] {
        [only] => Ok(only.clone()),
        [] if stored.iter().any(|row| row.kind.is_imported()) => {
            Err(Error::Catalogue(CatalogueError::OnlyImported))
        }
        [] => Err(Error::Catalogue(CatalogueError::Empty { kind })),
        _ => Err(Error::Catalogue(CatalogueError::Choose {
            kind,
            found: of_models.into_iter().map(name).collect(),
        })),
    }
}

/// An extractor, and that of the masks which people added by prompts to the same model, which saw the photos alike: its embeddings are
/// of the same space, and its masks have indices below 0, so an image and an index distinguish the masks of all.
///
/// # Errors
/// Any error from the store.
pub async fn with_prompted(
    snapshot: &Snapshot,
    extractor_id: &ExtractorId,
) -> Result<Vec<ExtractorId>> {
    let stored = extractors_stored(snapshot).await?;
    let own = stored.iter().find(|row| row.extractor_id == *extractor_id);
    let is_beside = |row: &&ExtractorRow| {
        row.kind == ExtractorKind::Prompted
            && row.extractor_id != *extractor_id
            && own.is_some_and(|own| sees_alike(own, row))
    };
    let beside = stored.iter().filter(is_beside);
    let beside = beside.map(|row| row.extractor_id.clone());
    Ok(std::iter::once(extractor_id.clone())
        .chain(beside)
        .collect())
}

/// Whether two extractors have the same weights in the same precision, and see the same pixels of a photo, so that the features of one are
/// those of the other.
pub fn sees_alike(one: &ExtractorRow, other: &ExtractorRow) -> bool {
    one.embedding_space.is_some()
        && one.embedding_space == other.embedding_space
        && decoding_by(one).rendering == decoding_by(other).rendering
}

/// Of the extractors that [`with_prompted`] gives, the one whose mask has an index.
pub fn extractor_of_mask(extractors: &[ExtractorId], mask_index: i32) -> Option<&ExtractorId> {
    let prompted = extractors.get(1).filter(|_| mask_index < 0);
    prompted.or(extractors.first())
}

/// Like [`find_extractor`], but where no extractor's masks have embeddings, the only one that there is will do: for what
/// needs masks and no embeddings.
///
/// # Errors
/// As [`find_extractor`].
pub async fn find_masks_of(snapshot: &Snapshot, word: Option<&str>) -> Result<ExtractorRow> {
    match find_extractor(snapshot, word).await {
        Err(Error::Catalogue(CatalogueError::OnlyImported)) => {}
        found => return found,
    }
    let mut stored = extractors_to_choose(snapshot).await?;
    match (stored.pop(), stored.len()) {
        (Some(only), 0) => Ok(only),
        (last, _) => {
            stored.extend(last);
            let name = |row: ExtractorRow| format!("{} ({})", row.extractor_id, row.checkpoint);
            Err(Error::Catalogue(CatalogueError::Choose {
                kind: Named::Extractor,
                found: stored.into_iter().map(name).collect(),
            }))
        }
    }
}

/// Every embedder in the store, oldest first.
///
/// # Errors
/// Any error from the store.
pub async fn embedders_stored(snapshot: &Snapshot) -> Result<Vec<EmbedderRow>> {
    let mut rows: Vec<EmbedderRow> = collect(snapshot.scan(EmbedderRow::TABLE).await?).await?;
    rows.sort_by_key(|row| row.created_at);
    Ok(rows)
}

/// Finds the embedder of a name, or the embedder whose id begins with `word`.
///
/// # Errors
/// [`CatalogueError`] if there is none, or more than one; errors from the store.
pub async fn find_embedder(snapshot: &Snapshot, word: &str) -> Result<EmbedderRow> {
    let stored = embedders_stored(snapshot).await?;
    if let Some(row) = stored.iter().find(|row| row.embedder == word) {
        return Ok(row.clone());
    }
    let found = by_id(
        Named::Embedder,
        word,
        &stored,
        |row| row.embedder_id.as_str(),
        |row| row.embedder.clone(),
    );
    found.cloned()
}
