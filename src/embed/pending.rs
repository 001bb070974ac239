//! Which images are left to embed.

use datafusion::prelude::{col, lit};
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::extract::{ImageSelection, PendingImage, masks_of_images};
use crate::ids::{EmbedderId, ExtractorId};
use crate::schema::Table;
use crate::store::Snapshot;
use crate::store::rows::decode;
use crate::vectors::images_embedded;

/// An image to embed, and how many masks it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingVectors {
    /// The image.
    pub image: PendingImage,
    /// Rows of `masks` that the extractor has for it; 0 for vectors of whole images.
    pub masks: u64,
}

/// The selected images whose masks of an extractor an embedder has not done yet; without an extractor, the images that
/// it has not done as a whole. Images that failed before come last, so that a limit gets past them.
///
/// # Errors
/// [`crate::Error::DataFusion`] for a condition that cannot be planned; errors of the store.
pub async fn pending_vectors(
    snapshot: &Snapshot,
    embedder_id: &EmbedderId,
    extractor_id: Option<&ExtractorId>,
    selection: &ImageSelection,
) -> Result<Vec<PendingVectors>> {
    let done = images_embedded(snapshot, embedder_id, extractor_id, None).await?;
    let chosen = selection.images.image_ids(snapshot).await?;
    let masks = match extractor_id {
        Some(extractor_id) => Some(masks_of_images(snapshot, extractor_id, None).await?),
        None => None,
    };
    let columns = ["image_id", "root", "file_name", "width", "height"];
    let scan = snapshot.scan(Table::Images).await?.project(&columns)?;
    let mut found = scan.stream().await?;
    let mut pending = Vec::new();
    while let Some(batch) = found.next().await {
        for image in decode::<PendingImage>(Table::Images, &batch?)? {
            let id = &image.image_id;
            let in_shard = selection.shard.is_none_or(|shard| shard.holds(id));
            if !in_shard || !chosen.contains(id) || done.contains(id) {
                continue;
            }
            let masks = match &masks {
                None => Some(0),
                Some(masks) => masks.get(id).copied(),
            };
            pending.extend(masks.map(|masks| PendingVectors { image, masks }));
        }
    }
    let of_image = col("stage")
        .eq(lit("embed"))
        .and(col("image_id").is_not_null());
    let failed = snapshot.image_ids(Table::Failures, of_image, None).await?;
    pending.sort_by_key(|it| failed.contains(&it.image.image_id));
    let limit = selection.limit.unwrap_or(u64::MAX);
    pending.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(pending)
}
