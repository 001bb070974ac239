//! Extracted images become commits: an image's masks and the mark that it is done are written together.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use datafusion::prelude::{col, lit};
use futures::StreamExt;
use serde::Deserialize;

use super::generator::{GeneratedMask, KeptFeatures};
use super::options::SamVector;
use super::pending::{images_done, images_in};
use super::summary::ExtractSummary;
use crate::Result;
use crate::ids::ImageId;
use crate::schema::{EmbeddingType, Table};
use crate::store::rows::{
    EmbedderRow, EmbeddingDoneRow, ExtractionRow, ExtractorRow, FailureRow, ImageFeaturesRow,
    MaskRow, Row, VectorRow, collect, decode, image_features_to_batch, masks_to_batch,
    unrecorded_failures,
};
use crate::store::{Changes, Snapshot, Store, is_of_images};
use crate::vectors::{VectorBatch, add_vectors};

/// A batch is committed once it is this old, however few masks it holds, which limits the work that is lost to a kill.
const BATCH_AGE: Duration = Duration::from_secs(20);

/// Images whose features are committed together, 2 MiB each with the official models.
const FEATURES_HELD: usize = 64;

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
struct Batch {
    masks: Vec<MaskRow>,
    images: Vec<ExtractionRow>,
    failures: Vec<FailureRow>,
    features: Vec<ImageFeaturesRow>,
    /// One per embedder of the sink.
    vectors: Vec<VectorBatch>,
}

/// Collects images and commits them in batches.
pub(super) struct Sink<'a> {
    store: &'a Store,
    extractor: &'a ExtractorRow,
    embedders: Vec<(SamVector, EmbedderRow)>,
    token_width: usize,
    commit_masks: usize,
    batch: Batch,
    opened: Instant,
    summary: ExtractSummary,
}

impl<'a> Sink<'a> {
    pub fn new(store: &'a Store, extractor: &'a ExtractorRow, commit_masks: usize) -> Self {
        Self {
            store,
            extractor,
            embedders: Vec::new(),
            token_width: 0,
            commit_masks,
            batch: Batch::default(),
            opened: Instant::now(),
            summary: ExtractSummary::default(),
        }
    }

    /// Keeps vectors of masks, too; `token_width` is that of a token.
    pub fn keep(&mut self, embedders: Vec<(SamVector, EmbedderRow)>, token_width: usize) {
        self.batch.vectors = vec![VectorBatch::default(); embedders.len()];
        self.embedders = embedders;
        self.token_width = token_width;
    }

    /// Takes an image, and commits when the batch is large or old enough.
    pub async fn push(&mut self, image: Extracted) -> Result<()> {
        let extractor_id = &self.extractor.extractor_id;
        let embedders = self.embedders.iter();
        for ((kind, embedder), batch) in embedders.zip(&mut self.batch.vectors) {
            let before = batch.masks.len();
            for (mask, mask_index) in image.masks.iter().zip(0..) {
                let vector = match kind {
                    SamVector::Neck => mask.neck.clone(),
                    SamVector::Token => mask.token(self.token_width).map(<[f32]>::to_vec),
                };
                // As with other embedders, masks without a pixel have none.
                let vector = vector.filter(|_| !mask.rle.is_empty());
                batch.masks.extend(vector.map(|vector| VectorRow {
                    extractor_id: extractor_id.clone(),
                    image_id: image.image_id.clone(),
                    mask_index,
                    vector,
                }));
            }
            batch.done.push(EmbeddingDoneRow {
                embedder_id: embedder.embedder_id.clone(),
                extractor_id: Some(extractor_id.clone()),
                image_id: image.image_id.clone(),
                vectors: i32::try_from(batch.masks.len() - before).unwrap_or(i32::MAX),
                seconds: 0.0,
                embedded_at: Utc::now(),
            });
        }
        if let Some(KeptFeatures { sizes, values }) = image.features {
            let [channels, height, width] = sizes.map(|size| i32::try_from(size).unwrap_or(0));
            self.batch.features.push(ImageFeaturesRow {
                extractor_id: extractor_id.clone(),
                image_id: image.image_id.clone(),
                channels,
                height,
                width,
                features: values,
                kept_at: Utc::now(),
            });
        }
        self.batch.images.push(ExtractionRow {
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
                object_score: None,
            });
        self.batch.masks.extend(rows);
        self.flush_if_due().await
    }

    /// Takes the failure of an image that could not be extracted.
    pub async fn fail(&mut self, failure: FailureRow) -> Result<()> {
        self.summary.failed += 1;
        self.batch.failures.push(failure);
        self.flush_if_due().await
    }

    /// Commits what is left.
    pub async fn finish(mut self) -> Result<ExtractSummary> {
        self.flush().await?;
        Ok(self.summary)
    }

    async fn flush_if_due(&mut self) -> Result<()> {
        let is_large = self.batch.masks.len() >= self.commit_masks
            || self.batch.features.len() >= FEATURES_HELD;
        if is_large || self.opened.elapsed() >= BATCH_AGE {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.opened = Instant::now();
        let batch = Arc::new(mem::take(&mut self.batch));
        self.batch.vectors = vec![VectorBatch::default(); self.embedders.len()];
        if batch.images.is_empty() && batch.failures.is_empty() {
            return Ok(());
        }
        let (extractor, embedders) = (self.extractor, &self.embedders);
        let embedding = self.store.options().embedding;
        let (_, planned) = self
            .store
            .commit_with("extract", |head| {
                let batch = batch.clone();
                async move { plan(&head, extractor, embedders, &batch, embedding).await }
            })
            .await?;
        self.summary.images += planned.images;
        self.summary.masks += planned.masks;
        self.summary.revisited += planned.revisited;
        self.summary.failed += planned.differing;
        let all = batch.images.len() as u64;
        let handled = planned.images + planned.revisited + planned.differing;
        self.summary.done_elsewhere += all.saturating_sub(handled);
        Ok(())
    }
}

/// What a commit does with the images of a batch.
#[derive(Debug, Clone, Copy, Default)]
struct Planned {
    /// Images whose masks are new.
    images: u64,
    /// Their masks.
    masks: u64,
    /// Images whose masks were there, and get vectors.
    revisited: u64,
    /// Images whose masks were there, and were others.
    differing: u64,
}

/// The rows to write, without the masks of images that are done, and the numbers of images and masks in them.
async fn plan(
    head: &Snapshot,
    extractor: &ExtractorRow,
    embedders: &[(SamVector, EmbedderRow)],
    batch: &Batch,
    embedding: EmbeddingType,
) -> Result<(Changes, Planned)> {
    let ids = batch.images.iter().map(|row| &row.image_id).collect();
    let done = images_done(head, &extractor.extractor_id, Some(ids)).await?;
    let images: Vec<_> = batch
        .images
        .iter()
        .filter(|row| !done.contains(&row.image_id))
        .cloned()
        .collect();
    let masks: Vec<_> = batch
        .masks
        .iter()
        .filter(|row| !done.contains(&row.image_id))
        .cloned()
        .collect();
    let stored: Vec<ExtractorRow> = collect(head.scan(ExtractorRow::TABLE).await?).await?;
    let mut failures = batch.failures.clone();
    let mut differing = HashSet::new();
    let features = missing_features(head, extractor, batch).await?;
    let is_revisit = (!embedders.is_empty() || !features.is_empty()) && !done.is_empty();
    if is_revisit && !embedders.is_empty() {
        differing = differing_images(head, extractor, batch, &done).await?;
        failures.extend(differing.iter().map(differs));
    }
    let failures = unrecorded_failures(head, &failures).await?;

    let mut changes = Changes::new();
    let is_known = |row: &ExtractorRow| row.extractor_id == extractor.extractor_id;
    if !images.is_empty() && !stored.iter().any(is_known) {
        changes.append(
            ExtractorRow::TABLE,
            ExtractorRow::to_batch(std::slice::from_ref(extractor))?,
        );
    }
    changes.append(Table::Masks, masks_to_batch(&masks, embedding)?);
    for ((_, embedder), vectors) in embedders.iter().zip(&batch.vectors) {
        let vectors = vectors.without(&differing);
        let of_extractor = Some(&extractor.extractor_id);
        add_vectors(&mut changes, head, embedder, of_extractor, &vectors).await?;
    }
    changes.append(Table::ImageFeatures, image_features_to_batch(&features)?);
    changes.append(ExtractionRow::TABLE, ExtractionRow::to_batch(&images)?);
    changes.append(FailureRow::TABLE, FailureRow::to_batch(&failures)?);
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
    Ok((changes, planned))
}

/// The features of a batch that the store does not have.
async fn missing_features(
    head: &Snapshot,
    extractor: &ExtractorRow,
    batch: &Batch,
) -> Result<Vec<ImageFeaturesRow>> {
    if batch.features.is_empty() {
        return Ok(Vec::new());
    }
    let ids = batch.features.iter().map(|row| &row.image_id).collect();
    let of = &extractor.extractor_id;
    let kept = images_in(head, Table::ImageFeatures, of, Some(ids)).await?;
    let rows = batch.features.iter();
    Ok(rows
        .filter(|row| !kept.contains(&row.image_id))
        .cloned()
        .collect())
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
