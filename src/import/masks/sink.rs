//! Imported images become commits: an image's masks and the mark that it is done are written together.

use std::collections::HashSet;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;

use super::images::StoredImage;
use super::item::{ImageMasks, ImportedMask, Unusable};
use super::request::ImportMasksSummary;
use crate::Result;
use crate::extract::images_of_extractor;
use crate::ids::{ExtractorId, FailureId};
use crate::progress::Progress;
use crate::schema::Table;
use crate::store::rows::{
    ExtractionRow, ExtractorRow, FailureRow, MaskRow, Row, masks_to_batch, unrecorded_failures,
};
use crate::store::{Changes, ImageSet, Snapshot, Store};

/// A batch is committed once it is this old, however few masks it holds, which limits the work that is lost to a kill.
const BATCH_AGE: Duration = Duration::from_secs(20);

/// Masks in a record batch.
const BATCH_MASKS: usize = 4096;

/// Rows that are not committed yet.
#[derive(Debug, Default)]
struct Batch {
    masks: Vec<MaskRow>,
    images: Vec<ExtractionRow>,
    failures: Vec<FailureRow>,
}

/// Where masks go.
pub(super) struct Target<'a> {
    pub store: &'a Store,
    pub extractor: &'a ExtractorRow,
    /// The data set that failures are recorded under, if the request names one.
    pub dataset: Option<&'a str>,
    pub commit_masks: usize,
    pub progress: &'a dyn Progress,
}

/// Collects images and commits them in batches.
pub(super) struct Sink<'a> {
    target: Target<'a>,
    /// Images with masks of the extractor.
    done: ImageSet,
    batch: Batch,
    opened: Instant,
    /// Failures that were told. Two annotations of a file may be equal.
    told: HashSet<FailureId>,
    summary: ImportMasksSummary,
}

impl<'a> Sink<'a> {
    pub fn new(target: Target<'a>) -> Self {
        let extractor_id = target.extractor.extractor_id.clone();
        Self {
            target,
            done: images_of_extractor(&extractor_id),
            batch: Batch::default(),
            opened: Instant::now(),
            told: HashSet::new(),
            summary: ImportMasksSummary {
                extractor_id: Some(extractor_id),
                ..ImportMasksSummary::default()
            },
        }
    }

    /// The counts so far, for what does not pass through the sink.
    pub fn counts(&mut self) -> &mut ImportMasksSummary {
        &mut self.summary
    }

    /// Takes an image that the source calls `name`, and commits when the batch is large or old enough.
    pub async fn push(
        &mut self,
        image: &StoredImage,
        name: &str,
        read: ImageMasks,
        seconds: f64,
    ) -> Result<()> {
        self.summary.without_mask += read.without_mask;
        for (part, why) in read.unusable {
            self.add_failure(Unusable {
                item: format!("{name}: {part}"),
                image_id: Some(image.image_id.clone()),
                why,
            });
        }
        let extractor_id = &self.target.extractor.extractor_id;
        self.batch.images.push(ExtractionRow {
            extractor_id: extractor_id.clone(),
            image_id: image.image_id.clone(),
            masks: i32::try_from(read.masks.len()).unwrap_or(i32::MAX),
            seconds,
            extracted_at: Utc::now(),
        });
        let rows = read.masks.into_iter().zip(0..);
        let rows = rows.map(|(mask, at)| mask_row(extractor_id, image, mask, at));
        self.batch.masks.extend(rows);
        self.flush_if_due().await
    }

    /// Takes what cannot be used.
    pub async fn fail(&mut self, unusable: Unusable) -> Result<()> {
        self.add_failure(unusable);
        self.flush_if_due().await
    }

    /// Commits what is left.
    pub async fn finish(mut self) -> Result<ImportMasksSummary> {
        self.flush().await?;
        Ok(self.summary)
    }

    fn add_failure(&mut self, unusable: Unusable) {
        let Unusable {
            item,
            image_id,
            why,
        } = unusable;
        let row = FailureRow::of_error("import", self.target.dataset, &item, &why);
        if self.told.insert(row.failure_id.clone()) {
            let line = format!("{item}: {}", row.reason);
            self.target.progress.note(&line);
            self.summary.failed += 1;
            self.batch.failures.push(FailureRow { image_id, ..row });
        }
    }

    async fn flush_if_due(&mut self) -> Result<()> {
        let waiting = self.batch.masks.len() + self.batch.failures.len();
        if waiting >= self.target.commit_masks || self.opened.elapsed() >= BATCH_AGE {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.opened = Instant::now();
        let batch = Arc::new(mem::take(&mut self.batch));
        if batch.images.is_empty() && batch.failures.is_empty() {
            return Ok(());
        }
        let (store, extractor) = (self.target.store, self.target.extractor);
        let done = &self.done;
        let (commit, (images, masks)) = store
            .commit_with("import masks", |head| {
                let batch = batch.clone();
                async move { plan(&head, extractor, done, &batch).await }
            })
            .await?;
        if commit.changed {
            let images = batch.images.iter().map(|row| &row.image_id);
            done.add(&commit.snapshot, images).await?;
        }
        self.summary.images += images;
        self.summary.masks += masks;
        self.summary.done += batch.images.len() as u64 - images;
        Ok(())
    }
}

fn mask_row(
    extractor_id: &ExtractorId,
    image: &StoredImage,
    mask: ImportedMask,
    mask_index: i32,
) -> MaskRow {
    let size = image.size();
    let whole = [0.0, 0.0, f64::from(size.width), f64::from(size.height)];
    MaskRow {
        extractor_id: extractor_id.clone(),
        image_id: image.image_id.clone(),
        mask_index,
        rle: mask.rle,
        bbox: None,
        predicted_iou: mask.predicted_iou,
        stability_score: mask.stability_score,
        point: mask.point,
        crop_box: mask.crop_box.unwrap_or(whole),
        mask_output: None,
        embedding: None,
        object_score: None,
    }
}

/// The rows to write, without the images that another process has done in the meantime, and the numbers of images and
/// masks in them.
async fn plan(
    head: &Snapshot,
    extractor: &ExtractorRow,
    done: &ImageSet,
    batch: &Batch,
) -> Result<(Changes, (u64, u64))> {
    let extractor_id = &extractor.extractor_id;
    let ids = batch.images.iter().map(|row| &row.image_id);
    let done = done.among(head, ids).await?;
    let images = batch.images.iter();
    let images: Vec<ExtractionRow> = images
        .filter(|row| !done.contains(&row.image_id))
        .cloned()
        .collect();
    let masks = batch.masks.iter();
    let masks: Vec<MaskRow> = masks
        .filter(|row| !done.contains(&row.image_id))
        .cloned()
        .collect();

    let mut changes = Changes::new();
    let is_known = head.has_value(Table::Extractors, "extractor_id", extractor_id.as_str());
    if !images.is_empty() && !is_known.await? {
        let row = ExtractorRow {
            created_at: head.now(),
            ..extractor.clone()
        };
        changes.append(ExtractorRow::TABLE, ExtractorRow::to_batch(&[row])?);
    }
    for part in masks.chunks(BATCH_MASKS) {
        let rows = masks_to_batch(part, head.store().options().embedding)?;
        changes.append(Table::Masks, rows);
    }
    changes.append(ExtractionRow::TABLE, ExtractionRow::to_batch(&images)?);
    let failures = unrecorded_failures(head, &batch.failures).await?;
    changes.append(FailureRow::TABLE, FailureRow::to_batch(&failures)?);
    Ok((changes, (images.len() as u64, masks.len() as u64)))
}
