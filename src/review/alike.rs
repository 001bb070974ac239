//! Masks that are like the labelled ones of a class: what a person can confirm many at once.

use std::collections::HashSet;
use std::sync::Arc;

use super::centres::vectors_of;
use super::propagate::{Known, Nearest, each_free};
use super::statement::MaskKey;
use super::vectors::MaskVectors;
use crate::Result;
use crate::catalogue::{find_head, find_masks_of};
use crate::error::{Error, ReviewError};
use crate::ids::{ImageId, MaskLabelId};
use crate::neighbours::SearchedTable;
use crate::progress::Progress;
use crate::store::{Snapshot, is_of_images};

/// A mask whose most similar labelled mask has one of some labels.
#[derive(Debug, Clone, PartialEq)]
pub struct AlikeMask {
    /// The mask.
    pub mask: MaskKey,
    /// The label of the most similar labelled mask: a row of `mask_labels`.
    pub proof: MaskLabelId,
    /// Cosine similarity with that mask.
    pub score: f32,
}

/// The masks of which nobody says anything and whose most similar labelled mask has one of `labels`, the most similar
/// first. They are compared by the vectors that `head` reads first; without a head, by their tokens.
///
/// # Errors
/// [`ReviewError::NothingToPropagate`] if no mask with a vector is labelled; [`crate::error::CatalogueError`] for a head
/// that does not exist; errors of the store.
pub async fn masks_like_labelled(
    snapshot: &Snapshot,
    head: Option<&str>,
    labels: &[String],
    count: usize,
    progress: &dyn Progress,
) -> Result<Vec<AlikeMask>> {
    let (extractor_id, table) = match head {
        Some(head) => {
            let head = find_head(snapshot, head).await?;
            let table = vectors_of(snapshot, &head).await?;
            (head.extractor_id, table)
        }
        None => {
            let extractor = find_masks_of(snapshot, None).await?;
            (extractor.extractor_id, SearchedTable::Masks)
        }
    };
    let vectors = MaskVectors::open(snapshot, &table, &extractor_id).await?;
    let known = Known::read(snapshot).await?;
    let sources = known.sources(vectors.extractors());
    let of_images: HashSet<&ImageId> = sources.iter().map(|it| &it.mask.image_id).collect();
    let read = vectors.all(Some(is_of_images(of_images))).await?;
    let nothing = || {
        Error::Review(ReviewError::NothingToPropagate {
            table: table.to_string(),
        })
    };
    let nearest = Arc::new(Nearest::new(sources, &read).ok_or_else(nothing)?);
    let mut found = Vec::new();
    each_free(&vectors, None, &nearest, &known, progress, |mask, it| {
        let source = nearest.source(it.source);
        let source = source.filter(|source| {
            let label = source.label.as_ref();
            label.is_some_and(|label| labels.contains(label))
        });
        found.extend(source.map(|source| AlikeMask {
            mask,
            proof: source.mask_label_id.clone(),
            score: it.score,
        }));
    })
    .await?;
    found.sort_by(|a, b| {
        b.score
            .total_cmp(&a.score)
            .then_with(|| a.mask.cmp(&b.mask))
    });
    found.truncate(count);
    Ok(found)
}
