//! Batches of read items become commits.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::options::IngestOptions;
use super::plan::{Known, plan_batch};
use crate::Result;
use crate::progress::Progress;
use crate::store::Store;
use crate::store::rows::{FailureRow, GroundTruthRow, ImageRow, LabelRow};

/// A batch this old is committed, however small: what was read is safe soon, and commits stay few.
const BATCH_AGE: Duration = Duration::from_secs(5);

/// What came of reading one item.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub record: Option<Record>,
    pub failures: Vec<FailureRow>,
}

/// A photo with all that a data set says of it.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub image: ImageRow,
    pub labels: Vec<LabelRow>,
    /// Its annotations, perhaps none at all; `None` where the data set does not annotate.
    pub ground_truth: Option<Vec<GroundTruthRow>>,
}

impl Outcome {
    pub fn read(record: Record, failures: Vec<FailureRow>) -> Self {
        Self {
            record: Some(record),
            failures,
        }
    }

    pub fn failed(failure: FailureRow) -> Self {
        Self {
            record: None,
            failures: vec![failure],
        }
    }
}

/// What an ingest did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct IngestSummary {
    /// Images that were not in the store before.
    pub images_added: u64,
    /// Images that were: same bytes, under this or another name.
    pub images_known: u64,
    /// Rows added to `labels`.
    pub labels_added: u64,
    /// Rows added to `ground_truth`.
    pub ground_truth_added: u64,
    /// Items that could not be used, or not as asked; each has a row in `failures`.
    pub failed: u64,
    /// Files passed over because their names are not those of images.
    pub other_files: u64,
    /// Files passed over because a system left them there, such as thumbnails and notes on files.
    pub system_files: u64,
}

impl IngestSummary {
    fn add(&mut self, other: Self) {
        self.images_added += other.images_added;
        self.images_known += other.images_known;
        self.labels_added += other.labels_added;
        self.ground_truth_added += other.ground_truth_added;
        self.failed += other.failed;
        self.other_files += other.other_files;
        self.system_files += other.system_files;
    }
}

/// Collects outcomes and commits them in batches.
pub(super) struct Writer<'a> {
    store: &'a Store,
    operation: &'a str,
    options: &'a IngestOptions,
    progress: &'a dyn Progress,
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
            batch: Vec::new(),
            rows: 0,
            opened: Instant::now(),
            summary: IngestSummary::default(),
        }
    }

    /// Takes what came of an item, and commits when it is time to.
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
        let batch = Arc::new(mem::take(&mut self.batch));
        self.rows = 0;
        let split = self.options.split.as_deref();
        let (_, planned) = self
            .store
            .commit_with(self.operation, |head| {
                let batch = batch.clone();
                async move {
                    let known = Known::read(&head, &batch).await?;
                    let mut plan = plan_batch(&batch, known, split);
                    plan.leave_out_known_failures(&head).await?;
                    Ok((plan.changes()?, plan))
                }
            })
            .await?;
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
