//! Which images are left to extract.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;

use datafusion::logical_expr::Expr;
use datafusion::prelude::{col, lit};
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use crate::geometry::Size;
use crate::ids::{EmbedderId, ExtractorId, ImageId};
use crate::schema::Table;
use crate::selection::ImageFilter;
use crate::store::rows;
use crate::store::{ImageSet, Snapshot, is_of_images};
use crate::vectors::images_embedded;
use crate::{Error, Result};

/// Which images to extract.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImageSelection {
    /// Filter for the images.
    pub images: ImageFilter,
    /// Maximum number of images.
    pub limit: Option<u64>,
    /// The part of the images to extract, for several processes or machines on one store.
    pub shard: Option<Shard>,
}

/// Part `index` of `count` parts, which are disjoint and together hold every image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    count: u32,
}

impl Shard {
    /// Whether an image belongs to the part.
    pub(crate) fn holds(self, image: &ImageId) -> bool {
        let hash = u32::from_str_radix(image.as_str().get(..8).unwrap_or("0"), 16).unwrap_or(0);
        hash % self.count == self.index
    }
}

impl FromStr for Shard {
    type Err = Error;

    /// Reads `i/n` with i from 0 to n - 1.
    fn from_str(text: &str) -> Result<Self> {
        let parts = text.split_once('/');
        let numbers = parts.and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match numbers {
            Some((index, count)) if index < count => Ok(Self { index, count }),
            _ => Err(Error::InvalidOption {
                what: "shard",
                value: text.to_owned(),
                expected: "i/n with i from 0 to n - 1, like 0/4".to_owned(),
            }),
        }
    }
}

/// An image to extract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingImage {
    /// Id of the image, which its bytes must hash to.
    pub image_id: ImageId,
    /// Directory that it was found under.
    pub root: String,
    /// Path of the image below that directory.
    pub file_name: String,
    /// Width in pixels.
    pub width: i32,
    /// Height in pixels.
    pub height: i32,
}

impl PendingImage {
    /// Its size in pixels.
    pub(super) fn size(&self) -> Size {
        Size {
            height: self.height.unsigned_abs(),
            width: self.width.unsigned_abs(),
        }
    }

    /// Number of its pixels.
    pub fn pixels(&self) -> u64 {
        u64::from(self.width.unsigned_abs()) * u64::from(self.height.unsigned_abs())
    }
}

/// What is kept of images besides their masks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Embedders of which every mask gets a vector.
    pub embedders: Vec<EmbedderId>,
    /// Whether the features of the image encoder are kept.
    pub features: bool,
}

/// The selected images that the extractor has not done yet, or of which something that is wanted is missing, in the
/// order in which they were ingested. Images that failed before come last, so that a limit gets past them.
///
/// # Errors
/// [`Error::DataFusion`] for a condition that cannot be planned; errors of the store.
pub async fn pending_images(
    snapshot: &Snapshot,
    extractor_id: &ExtractorId,
    wanted: &Wanted,
    selection: &ImageSelection,
) -> Result<Vec<PendingImage>> {
    let mut done = images_done(snapshot, extractor_id).await?;
    for embedder_id in &wanted.embedders {
        let embedded = images_embedded(snapshot, embedder_id, Some(extractor_id), None).await?;
        done.retain(|image| embedded.contains(image));
    }
    if wanted.features {
        let kept = images_in(snapshot, Table::ImageFeatures, extractor_id).await?;
        done.retain(|image| kept.contains(image));
    }
    let chosen = selection.images.image_ids(snapshot).await?;
    let columns = ["image_id", "root", "file_name", "width", "height"];
    let scan = snapshot.scan(Table::Images).await?.project(&columns)?;
    let mut found = scan.stream().await?;
    let limit = selection.limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    });
    let mut pending = Vec::new();
    while let Some(batch) = found.next().await {
        let images = rows::decode::<PendingImage>(Table::Images, &batch?)?;
        pending.extend(images.into_iter().filter(|image| {
            chosen.contains(&image.image_id)
                && !done.contains(&image.image_id)
                && selection
                    .shard
                    .is_none_or(|shard| shard.holds(&image.image_id))
        }));
    }
    let of_extraction = col("stage").eq(lit("extract"));
    let of_image = of_extraction.and(col("image_id").is_not_null());
    let failed = snapshot.image_ids(Table::Failures, of_image, None).await?;
    pending.sort_by_key(|image: &PendingImage| failed.contains(&image.image_id));
    pending.truncate(limit);
    Ok(pending)
}

/// Ids of the images that an extractor has done.
pub(crate) async fn images_done(
    snapshot: &Snapshot,
    extractor_id: &ExtractorId,
) -> Result<HashSet<ImageId>> {
    images_in(snapshot, Table::Extractions, extractor_id).await
}

/// Number of masks of each image that an extractor is done with; only of those in `among`, if it is given.
pub(crate) async fn masks_of_images(
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
    let wanted = match among {
        Some(images) => of_extractor(extractor_id).and(is_of_images(images)),
        None => of_extractor(extractor_id),
    };
    let mut found = scan.filter(wanted).stream().await?;
    let mut masks = HashMap::new();
    while let Some(batch) = found.next().await {
        for done in rows::decode::<Done>(Table::Extractions, &batch?)? {
            *masks.entry(done.image_id).or_default() += u64::try_from(done.masks).unwrap_or(0);
        }
    }
    Ok(masks)
}

/// The images that an extractor has done, for a run that asks again and again.
pub(crate) fn images_of_extractor(extractor_id: &ExtractorId) -> ImageSet {
    ImageSet::new(Table::Extractions, of_extractor(extractor_id))
}

/// The images of which features are kept, for a run that asks again and again.
pub(super) fn images_with_features(extractor_id: &ExtractorId) -> ImageSet {
    ImageSet::new(Table::ImageFeatures, of_extractor(extractor_id))
}

fn of_extractor(extractor_id: &ExtractorId) -> Expr {
    col("extractor_id").eq(lit(extractor_id.as_str()))
}

/// Ids of the images of which a table has a row of an extractor.
async fn images_in(
    snapshot: &Snapshot,
    table: Table,
    extractor_id: &ExtractorId,
) -> Result<HashSet<ImageId>> {
    let of_extractor = of_extractor(extractor_id);
    snapshot.image_ids(table, of_extractor, None).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_out_every_image_once() {
        let shards: Vec<Shard> = ["0/3", "1/3", "2/3"].map(|s| s.parse().unwrap()).to_vec();
        let mut sizes = [0; 3];
        for n in 0..300u32 {
            let image = ImageId::of_bytes(&n.to_le_bytes());
            let holders: Vec<_> = (0..3).filter(|i| shards[*i].holds(&image)).collect();
            assert_eq!(holders.len(), 1);
            sizes[holders[0]] += 1;
        }
        assert!(sizes.iter().all(|size| *size > 60), "{sizes:?}");
        for bad in ["", "1", "3/3", "0/0", "-1/2", "a/b"] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }
}
