//! Which images are left to embed.

use std::collections::HashMap;

use datafusion::prelude::{col, lit};
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::extract::{ImageSelection, PendingImage};
use crate::ids::{EmbedderId, ExtractorId, ImageId};
use crate::schema::Table;
use crate::store::rows::decode;
use crate::store::{Snapshot, is_of_images};
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
    let columns = ["image_id", "root", "file_name"];
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

/// Number of rows of `masks` of each image that an extractor is done with; only of those in `among`, if it is given.
pub(super) async fn masks_of_images(
    snapshot: &Snapshot,
    extractor_id: &ExtractorId,
    among: Option<Vec<&ImageId>>,
) -> Result<HashMap<ImageId, u64>> {
    #[derive(Deserialize)]
    struct Done {
        image_id: ImageId,
        masks: i32,
    }
    let scan = snapshot.scan(Table::Extractions).await?;
    let scan = scan.project(&["image_id", "masks"])?;
    let of_extractor = col("extractor_id").eq(lit(extractor_id.as_str()));
    let wanted = match among {
        Some(images) => of_extractor.and(is_of_images(images)),
        None => of_extractor,
    };
    let mut rows = scan.filter(wanted).stream().await?;
    let mut found = HashMap::new();
    while let Some(batch) = rows.next().await {
        for done in decode::<Done>(Table::Extractions, &batch?)? {
            *found.entry(done.image_id).or_default() += u64::try_from(done.masks).unwrap_or(0);
        }
    }
    Ok(found)
}
