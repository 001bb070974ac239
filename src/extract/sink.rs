//! Extracted images become commits: an image's masks and the mark that it is done are written together.

use std::mem;
use std::time::{Duration, Instant};

use super::summary::ExtractSummary;
use super::target::{Batch, Extracted, Target, add_failures};
use crate::Result;
use crate::store::Store;
use crate::store::rows::FailureRow;

/// A batch is committed once it is this old, however few masks it holds, which limits the work that is lost to a kill.
const BATCH_AGE: Duration = Duration::from_secs(20);

/// Numbers of features that are committed together: 128 MiB.
const FEATURES_HELD: usize = 64 << 20;

/// Collects images and commits them in batches.
pub(super) struct Sink<'a> {
    store: &'a Store,
    target: Target,
    commit_masks: usize,
    batch: Batch,
    opened: Instant,
    summary: ExtractSummary,
}

impl<'a> Sink<'a> {
    pub fn new(store: &'a Store, target: Target, commit_masks: usize) -> Self {
        Self {
            store,
            batch: target.batch(),
            target,
            commit_masks,
            opened: Instant::now(),
            summary: ExtractSummary::default(),
        }
    }

    /// Takes an image, and commits when the batch is large or old enough.
    pub async fn push(&mut self, image: Extracted) -> Result<()> {
        self.target.add(&mut self.batch, image);
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
        let features = self.batch.features.iter().map(|row| row.features.len());
        let is_large =
            self.batch.masks.len() >= self.commit_masks || features.sum::<usize>() >= FEATURES_HELD;
        if is_large || self.opened.elapsed() >= BATCH_AGE {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.opened = Instant::now();
        let batch = mem::replace(&mut self.batch, self.target.batch());
        if batch.images.is_empty() && batch.failures.is_empty() {
            return Ok(());
        }
        let (target, batch) = (&self.target, &batch);
        let (commit, (new, planned)) = self
            .store
            .commit_with("extract", |head| async move {
                let mut rows = target.rows(&head, batch).await?;
                add_failures(&mut rows.changes, &head, &rows.failures).await?;
                Ok((rows.changes, (rows.new, rows.planned)))
            })
            .await?;
        if commit.changed {
            target.committed(&commit.snapshot, &new).await?;
        }
        planned.add_to(&mut self.summary, batch.images.len() as u64);
        Ok(())
    }
}
