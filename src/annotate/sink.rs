//! Decided images become commits; an image's predictions are written all at once or not at all.

use std::mem;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::annotator::DecidedImage;
use super::common::Common;
use super::pending::predictions_of;
use super::summary::AnnotateSummary;
use crate::catalogue::find_head;
use crate::schema::Table;
use crate::store::rows::{PolicyRow, PredictionRow, Row};
use crate::store::{Changes, ImageSet, Snapshot, Store};
use crate::{Error, Result};

/// Rows that are committed together, unless a batch reaches [`BATCH_AGE`] first.
const COMMIT_ROWS: usize = 200_000;
/// Age at which a batch is committed, which limits the work that is lost to a kill.
const BATCH_AGE: Duration = Duration::from_secs(20);

/// Collects images and commits them in batches.
pub(super) struct Sink<'a> {
    store: &'a Store,
    operation: &'static str,
    common: &'a Common,
    /// Images with predictions of the head under the policy.
    done: ImageSet,
    images: Vec<DecidedImage>,
    rows: usize,
    opened: Instant,
    summary: AnnotateSummary,
}

impl<'a> Sink<'a> {
    pub fn new(
        store: &'a Store,
        operation: &'static str,
        common: &'a Common,
        summary: AnnotateSummary,
    ) -> Self {
        Self {
            store,
            operation,
            common,
            done: ImageSet::new(
                Table::Predictions,
                predictions_of(&common.head.head_id, &common.policy_id),
            ),
            images: Vec::new(),
            rows: 0,
            opened: Instant::now(),
            summary,
        }
    }

    /// Takes images, and commits when the batch is large or old enough.
    pub async fn push(&mut self, images: Vec<DecidedImage>) -> Result<()> {
        self.rows += images.iter().map(|image| image.masks.len()).sum::<usize>();
        self.images.extend(images);
        if self.rows >= COMMIT_ROWS || self.opened.elapsed() >= BATCH_AGE {
            self.flush().await?;
        }
        Ok(())
    }

    /// Commits what is left.
    pub async fn finish(mut self) -> Result<AnnotateSummary> {
        self.flush().await?;
        Ok(self.summary)
    }

    async fn flush(&mut self) -> Result<()> {
        self.opened = Instant::now();
        self.rows = 0;
        let images = mem::take(&mut self.images);
        if images.is_empty() {
            return Ok(());
        }
        let (common, done, images) = (self.common, &self.done, &images);
        let (commit, counts) = self
            .store
            .commit_with(self.operation, |head| async move {
                plan(&head, common, done, images).await
            })
            .await?;
        if commit.changed {
            let images = images.iter().map(|image| &image.image_id);
            done.add(&commit.snapshot, images).await?;
        }
        self.summary.add(&counts);
        Ok(())
    }
}

/// The rows to write, without the images that another process has done in the meantime, and their counts.
async fn plan(
    snapshot: &Snapshot,
    common: &Common,
    done: &ImageSet,
    images: &[DecidedImage],
) -> Result<(Changes, AnnotateSummary)> {
    let ids = images.iter().map(|image| &image.image_id);
    let head_id = &common.head.head_id;
    // The head may have been removed since the run began.
    find_head(snapshot, head_id.as_str()).await?;
    let done = done.among(snapshot, ids).await?;
    let mut counts = AnnotateSummary::default();
    let created_at = snapshot.now();
    let new = images
        .iter()
        .filter(|image| !done.contains(&image.image_id));
    let rows = rows_of(common, new, created_at, &mut counts)?;
    counts.done = images.len() as u64 - counts.images;
    let mut changes = Changes::new();
    if !rows.is_empty() {
        let policy = PolicyRow::new(common.policy.clone(), created_at);
        policy.append_if_new(snapshot, &mut changes).await?;
    }
    changes.append(PredictionRow::TABLE, PredictionRow::to_batch(&rows)?);
    Ok((changes, counts))
}

/// The rows of decided images, which are counted.
pub(super) fn rows_of<'a>(
    common: &Common,
    images: impl Iterator<Item = &'a DecidedImage>,
    created_at: DateTime<Utc>,
    counts: &mut AnnotateSummary,
) -> Result<Vec<PredictionRow>> {
    let mut rows = Vec::new();
    for image in images {
        counts.images += 1;
        for (prediction, verdict) in &image.masks {
            counts.count(*verdict);
            let class = prediction.candidate.class;
            let name = common.classes.get(class as usize).ok_or(Error::Internal {
                what: "a head predicts a class that it does not have",
            })?;
            rows.push(PredictionRow {
                head_id: common.head.head_id.clone(),
                policy_id: common.policy_id.clone(),
                image_id: image.image_id.clone(),
                extractor_id: common.extractor_of(prediction.candidate.mask_index).clone(),
                mask_index: prediction.candidate.mask_index,
                class_index: class.cast_signed(),
                class: name.clone(),
                score: prediction.candidate.score,
                entropy: prediction.entropy,
                kept: verdict.is_kept(),
                dropped: verdict.dropped().map(str::to_owned),
                suppressed_by: verdict.suppressed_by(),
                created_at,
            });
        }
    }
    Ok(rows)
}
