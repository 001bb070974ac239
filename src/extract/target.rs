//! What an extraction adds rows to: which rows an image becomes, and which of them a snapshot does not have yet.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::Utc;
use datafusion::prelude::{col, lit};
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use super::crop_features::KeptFeatures;
use super::generated::GeneratedMask;
use super::options::SamVector;
use super::pending::{images_of_extractor, images_with_features};
use super::summary::ExtractSummary;
use crate::Result;
use crate::ids::ImageId;
use crate::schema::Table;
use crate::store::rows::{
    EmbedderRow, EmbeddingDoneRow, ExtractionRow, ExtractorRow, FailureRow, ImageFeaturesRow,
    MaskRow, Row, VectorRow, decode, image_features_to_batch, masks_to_batch, unrecorded_failures,
};
use crate::store::{Changes, ImageSet, Snapshot, is_of_images};
use crate::vectors::{VectorBatch, add_vectors, images_of_embedder};

/// Masks in a batch of rows: the texts of all masks of a large photo do not fit one.
const MASKS_OF_A_BATCH: usize = 32_768;

/// An image that went through the model.
#[derive(Debug)]
pub(super) struct Extracted {
    pub image_id: ImageId,
    pub masks: Vec<GeneratedMask>,
    pub features: Option<KeptFeatures>,
    pub seconds: f64,
}

/// Rows that are not committed yet.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub masks: Vec<MaskRow>,
    pub images: Vec<ExtractionRow>,
    pub failures: Vec<FailureRow>,
    pub features: Vec<ImageFeaturesRow>,
    /// One per embedder of the target.
    pub vectors: Vec<VectorBatch>,
}

/// What a run adds to.
pub(super) struct Target {
    pub extractor: ExtractorRow,
    pub embedders: Vec<(SamVector, EmbedderRow)>,
    /// Images with masks of the extractor.
    done: ImageSet,
    /// Images with vectors of each embedder.
    embedded: Vec<ImageSet>,
    /// Images of which features are kept.
    featured: ImageSet,
    /// Whether the store is known to know the extractor.
    is_registered: AtomicBool,
    token_width: usize,
}

/// What a commit does with the images of a batch.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Planned {
    /// Images whose masks are new.
    pub images: u64,
    /// Their masks.
    pub masks: u64,
    /// Images whose masks were there, and get vectors.
    pub revisited: u64,
    /// Images whose masks were there, and were others.
    pub differing: u64,
}

/// Images of which rows are added.
#[derive(Debug, Default)]
pub(super) struct NewImages {
    pub masks: Vec<ImageId>,
    /// By embedder.
    pub vectors: Vec<Vec<ImageId>>,
    pub features: Vec<ImageId>,
}

impl NewImages {
    /// The images with masks, those with features, and those with vectors of each embedder.
    pub fn into_lists(self) -> Vec<Vec<ImageId>> {
        [self.masks, self.features]
            .into_iter()
            .chain(self.vectors)
            .collect()
    }
}

/// The rows of a batch that a snapshot does not have.
pub(super) struct Rows {
    /// Without failures.
    pub changes: Changes,
    pub new: NewImages,
    pub failures: Vec<FailureRow>,
    pub planned: Planned,
}

impl Planned {
    /// Adds the counts of a commit of `images` images to those of a run.
    pub fn add_to(self, summary: &mut ExtractSummary, images: u64) {
        summary.images += self.images;
        summary.masks += self.masks;
        summary.revisited += self.revisited;
        summary.failed += self.differing;
        let handled = self.images + self.revisited + self.differing;
        summary.done_elsewhere += images.saturating_sub(handled);
    }
}

impl Target {
    /// Masks of an extractor, with vectors of embedders; `token_width` is that of a token.
    pub fn new(
        extractor: ExtractorRow,
        embedders: Vec<(SamVector, EmbedderRow)>,
        token_width: usize,
    ) -> Self {
        let of_extractor = Some(&extractor.extractor_id);
        let sets = embedders.iter();
        let sets = sets.map(|(_, row)| images_of_embedder(&row.embedder_id, of_extractor));
        Self {
            done: images_of_extractor(&extractor.extractor_id),
            embedded: sets.collect(),
            featured: images_with_features(&extractor.extractor_id),
            extractor,
            embedders,
            is_registered: AtomicBool::new(false),
            token_width,
        }
    }

    /// Like [`Target::new`], for images that the extractor has not seen, in a store that knows it.
    pub fn of_new_images(
        extractor: ExtractorRow,
        embedders: Vec<(SamVector, EmbedderRow)>,
        token_width: usize,
    ) -> Self {
        Self {
            done: ImageSet::empty(Table::Extractions),
            embedded: embedders
                .iter()
                .map(|_| ImageSet::empty(Table::Embeddings))
                .collect(),
            featured: ImageSet::empty(Table::ImageFeatures),
            extractor,
            embedders,
            is_registered: AtomicBool::new(true),
            token_width,
        }
    }

    /// A batch without rows.
    pub fn batch(&self) -> Batch {
        Batch {
            vectors: vec![VectorBatch::default(); self.embedders.len()],
            ..Batch::default()
        }
    }

    /// Adds the rows of an image to a batch.
    pub fn add(&self, batch: &mut Batch, image: Extracted) {
        let extractor_id = &self.extractor.extractor_id;
        let embedders = self.embedders.iter();
        for ((kind, embedder), vectors) in embedders.zip(&mut batch.vectors) {
            let before = vectors.masks.len();
            for (mask, mask_index) in image.masks.iter().zip(0..) {
                let vector = match kind {
                    SamVector::Neck => mask.neck.clone(),
                    SamVector::Token => mask.token(self.token_width).map(<[f32]>::to_vec),
                };
                // As with other embedders, masks without a pixel have none.
                let vector = vector.filter(|_| !mask.rle.is_empty());
                vectors.masks.extend(vector.map(|vector| VectorRow {
                    extractor_id: extractor_id.clone(),
                    image_id: image.image_id.clone(),
                    mask_index,
                    vector,
                }));
            }
            vectors.done.push(EmbeddingDoneRow {
                embedder_id: embedder.embedder_id.clone(),
                extractor_id: Some(extractor_id.clone()),
                image_id: image.image_id.clone(),
                vectors: i32::try_from(vectors.masks.len() - before).unwrap_or(i32::MAX),
                seconds: 0.0,
                embedded_at: Utc::now(),
            });
        }
        if let Some(KeptFeatures { sizes, values }) = image.features {
            let [channels, height, width] = sizes.map(|size| i32::try_from(size).unwrap_or(0));
            batch.features.push(ImageFeaturesRow {
                extractor_id: extractor_id.clone(),
                image_id: image.image_id.clone(),
                channels,
                height,
                width,
                features: values,
                kept_at: Utc::now(),
            });
        }
        batch.images.push(ExtractionRow {
            extractor_id: extractor_id.clone(),
            image_id: image.image_id.clone(),
            masks: i32::try_from(image.masks.len()).unwrap_or(i32::MAX),
            seconds: image.seconds,
            extracted_at: Utc::now(),
        });
        let rows = image
            .masks
            .into_iter()
            .zip(0..)
            .map(|(mask, mask_index)| MaskRow {
                extractor_id: extractor_id.clone(),
                image_id: image.image_id.clone(),
                mask_index,
                rle: mask.rle,
                bbox: None,
                predicted_iou: Some(mask.predicted_iou),
                stability_score: Some(mask.stability_score),
                point: Some(mask.point),
                crop_box: mask.crop.to_xywh(),
                mask_output: i8::try_from(mask.mask_output).ok(),
                embedding: Some(mask.embedding),
                object_score: mask.object_score,
            });
        batch.masks.extend(rows);
    }

    /// The rows to write, without those that a snapshot has.
    pub async fn rows(&self, head: &Snapshot, batch: &Batch) -> Result<Rows> {
        let extractor = &self.extractor;
        let embedding = head.store().options().embedding;
        let ids = batch.images.iter().map(|row| &row.image_id);
        let done = self.done.among(head, ids).await?;
        let images: Vec<_> = batch
            .images
            .iter()
            .filter(|row| !done.contains(&row.image_id))
            .cloned()
            .collect();
        let masks = if done.is_empty() {
            Cow::Borrowed(&batch.masks[..])
        } else {
            let new = |row: &&MaskRow| !done.contains(&row.image_id);
            batch.masks.iter().filter(new).cloned().collect()
        };
        let mut failures = batch.failures.clone();
        let mut differing = HashSet::new();
        let features = self.missing_features(head, batch).await?;
        let is_revisit = (!self.embedders.is_empty() || !features.is_empty()) && !done.is_empty();
        if is_revisit && !self.embedders.is_empty() {
            differing = differing_images(head, extractor, batch, &done).await?;
            failures.extend(differing.iter().map(differs));
        }

        let mut new = NewImages {
            masks: images.iter().map(|row| row.image_id.clone()).collect(),
            vectors: Vec::new(),
            features: features.iter().map(|row| row.image_id.clone()).collect(),
        };
        let mut changes = Changes::new();
        if !images.is_empty() && !self.is_registered(head).await? {
            let row = std::slice::from_ref(extractor);
            changes.append(ExtractorRow::TABLE, ExtractorRow::to_batch(row)?);
        }
        for part in masks.chunks(MASKS_OF_A_BATCH) {
            changes.append(Table::Masks, masks_to_batch(part, embedding)?);
        }
        let embedders = self.embedders.iter().zip(&self.embedded);
        for (((_, embedder), done), vectors) in embedders.zip(&batch.vectors) {
            let vectors = vectors.without(&differing);
            let of_extractor = Some(&extractor.extractor_id);
            let added = add_vectors(&mut changes, head, embedder, of_extractor, done, &vectors);
            new.vectors.push(added.await?.images);
        }
        changes.append(Table::ImageFeatures, image_features_to_batch(&features)?);
        changes.append(ExtractionRow::TABLE, ExtractionRow::to_batch(&images)?);
        let planned = Planned {
            images: images.len() as u64,
            masks: masks.len() as u64,
            revisited: if is_revisit {
                (done.len() - differing.len()) as u64
            } else {
                0
            },
            differing: differing.len() as u64,
        };
        Ok(Rows {
            changes,
            new,
            failures,
            planned,
        })
    }

    /// Notes of which images a commit has added rows. It was planned with [`Target::rows`].
    pub async fn committed(&self, after: &Snapshot, images: &NewImages) -> Result<()> {
        for (set, images) in self.sets(images) {
            if !images.is_empty() {
                set.add(after, images).await?;
            }
        }
        if !images.masks.is_empty() {
            self.is_registered.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The images that have rows, in the order of [`NewImages::into_lists`].
    pub fn into_sets(self) -> Vec<ImageSet> {
        [self.done, self.featured]
            .into_iter()
            .chain(self.embedded)
            .collect()
    }

    fn sets<'a>(
        &'a self,
        images: &'a NewImages,
    ) -> impl Iterator<Item = (&'a ImageSet, &'a Vec<ImageId>)> {
        let vectors = self.embedded.iter().zip(&images.vectors);
        let others = [
            (&self.done, &images.masks),
            (&self.featured, &images.features),
        ];
        others.into_iter().chain(vectors)
    }

    /// Whether the store knows the extractor, which then stays so.
    async fn is_registered(&self, head: &Snapshot) -> Result<bool> {
        let id = self.extractor.extractor_id.as_str();
        Ok(self.is_registered.load(Ordering::Relaxed)
            || head
                .has_value(Table::Extractors, "extractor_id", id)
                .await?)
    }

    /// The features of a batch that the store does not have.
    async fn missing_features(
        &self,
        head: &Snapshot,
        batch: &Batch,
    ) -> Result<Vec<ImageFeaturesRow>> {
        if batch.features.is_empty() {
            return Ok(Vec::new());
        }
        let ids = batch.features.iter().map(|row| &row.image_id);
        let kept = self.featured.among(head, ids).await?;
        let rows = batch.features.iter();
        Ok(rows
            .filter(|row| !kept.contains(&row.image_id))
            .cloned()
            .collect())
    }
}

/// Adds failures to changes, without those that a snapshot has.
pub(super) async fn add_failures(
    changes: &mut Changes,
    head: &Snapshot,
    failures: &[FailureRow],
) -> Result<()> {
    let failures = unrecorded_failures(head, failures).await?;
    changes.append(FailureRow::TABLE, FailureRow::to_batch(&failures)?);
    Ok(())
}

/// What tells a mask from another: its index, its area, and its box by bits.
type Looks = (i32, u64, Vec<u64>);

/// The images that were done before with other masks than those of a batch.
async fn differing_images(
    head: &Snapshot,
    extractor: &ExtractorRow,
    batch: &Batch,
    done: &HashSet<ImageId>,
) -> Result<HashSet<ImageId>> {
    #[derive(Deserialize)]
    struct Stored {
        image_id: ImageId,
        mask_index: i32,
        area: i64,
        bbox: Vec<f64>,
    }
    let mut found: HashMap<&ImageId, Vec<Looks>> = HashMap::new();
    for mask in batch
        .masks
        .iter()
        .filter(|mask| done.contains(&mask.image_id))
    {
        let of_image = found.entry(&mask.image_id).or_default();
        let bbox = mask.rle.bbox().to_xywh().map(f64::to_bits).to_vec();
        of_image.push((mask.mask_index, mask.rle.area(), bbox));
    }
    let mut stored: HashMap<ImageId, Vec<Looks>> = HashMap::new();
    let of_extractor = col("extractor_id").eq(lit(extractor.extractor_id.as_str()));
    let scan = head.scan(Table::Masks).await?;
    let scan = scan.project(&["image_id", "mask_index", "area", "bbox"])?;
    let mut rows = scan
        .filter(of_extractor.and(is_of_images(done)))
        .stream()
        .await?;
    while let Some(rows) = rows.next().await {
        for row in decode::<Stored>(Table::Masks, &rows?)? {
            let area = u64::try_from(row.area).unwrap_or(0);
            let bbox = row.bbox.into_iter().map(f64::to_bits).collect();
            let of_image = stored.entry(row.image_id).or_default();
            of_image.push((row.mask_index, area, bbox));
        }
    }
    stored.values_mut().for_each(|masks| masks.sort_unstable());
    let differs = |image: &&ImageId| {
        let (now, then) = (found.get(image), stored.get(*image));
        now.map_or(&[][..], Vec::as_slice) != then.map_or(&[][..], Vec::as_slice)
    };
    Ok(done.iter().filter(differs).cloned().collect())
}

/// The failure of an image whose vectors would not be of the masks that are stored.
fn differs(image_id: &ImageId) -> FailureRow {
    let reason = "its masks are not those that were stored, so it gets no vectors: another device or version made them";
    let mut failure = FailureRow::new("extract", None, image_id.as_str(), reason);
    failure.image_id = Some(image_id.clone());
    failure
}
