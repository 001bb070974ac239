//! Commits read items in batches.

use std::mem;
use std::time::{Duration, Instant};

use datafusion::prelude::lit;

use super::options::IngestOptions;
use super::outcome::{IngestSummary, Outcome};
use super::plan::{Known, plan_batch};
use crate::Result;
use crate::progress::Progress;
use crate::schema::Table;
use crate::store::rows::FailureRow;
use crate::store::{ImageSet, Store};

/// Age at which a batch is committed, however small: items are safe soon, and commits stay few.
const BATCH_AGE: Duration = Duration::from_secs(5);

/// Collects outcomes and commits them in batches.
pub(super) struct Writer<'a> {
    store: &'a Store,
    operation: &'a str,
    options: &'a IngestOptions,
    progress: &'a dyn Progress,
    /// The images of the store.
    stored: ImageSet,
    batch: Vec<Outcome>,
    rows: usize,
    opened: Instant,
    summary: IngestSummary,
}

impl<'a> Writer<'a> {
    pub fn new(
        store: &'a Store,
        operation: &'a str,
        options: &'a IngestOptions,
        progress: &'a dyn Progress,
    ) -> Self {
        Self {
            progress,
            store,
            operation,
            options,
            stored: ImageSet::new(Table::Images, lit(true)),
            batch: Vec::new(),
            rows: 0,
            opened: Instant::now(),
            summary: IngestSummary::default(),
        }
    }

    /// Adds the result of an item, and commits when the batch is due.
    pub async fn push(&mut self, outcome: Outcome) -> Result<()> {
        for failure in &outcome.failures {
            self.note(failure);
        }
        let annotations = outcome
            .record
            .as_ref()
            .and_then(|record| record.ground_truth.as_ref());
        self.rows += 1 + annotations.map_or(0, Vec::len) + outcome.failures.len();
        self.batch.push(outcome);
        if self.rows >= self.options.commit_rows || self.opened.elapsed() >= BATCH_AGE {
            self.flush().await?;
        }
        Ok(())
    }

    pub async fn finish(mut self) -> Result<IngestSummary> {
        self.flush().await?;
        Ok(self.summary)
    }

    async fn flush(&mut self) -> Result<()> {
        let batch = mem::take(&mut self.batch);
        self.rows = 0;
        let split = self.options.split.as_deref();
        let (stored, of_batch) = (&self.stored, &batch);
        let (commit, planned) = self
            .store
            .commit_with(self.operation, |head| async move {
                let known = Known::read(&head, of_batch, stored).await?;
                let mut plan = plan_batch(of_batch, known, split);
                plan.leave_out_known_failures(&head).await?;
                Ok((plan.changes()?, plan))
            })
            .await?;
        if commit.changed {
            self.stored
                .add(&commit.snapshot, planned.new_images())
                .await?;
        }
        for failure in &planned.contradictions {
            self.note(failure);
        }
        self.summary.add(planned.summary);
        self.opened = Instant::now();
        Ok(())
    }

    fn note(&self, failure: &FailureRow) {
        self.progress
            .note(&format!("{}: {}", failure.item, failure.reason));
    }
}
