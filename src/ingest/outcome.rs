//! What reading one item yields, and the counts of an ingest.

use serde::Serialize;

use crate::store::rows::{FailureRow, GroundTruthRow, ImageRow, LabelRow};

/// The result of reading one item.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub record: Option<Record>,
    pub failures: Vec<FailureRow>,
}

/// A photo with everything that a data set says about it.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub image: ImageRow,
    pub labels: Vec<LabelRow>,
    /// Its annotations, which may be empty. `None` if the data set does not annotate.
    pub ground_truth: Option<Vec<GroundTruthRow>>,
}

impl Record {
    /// Labels the image, unless it has the label.
    pub fn add_label(&mut self, label: &str, origin: &str) {
        if self.labels.iter().any(|row| row.label == label) {
            return;
        }
        self.labels.push(LabelRow {
            image_id: self.image.image_id.clone(),
            dataset: self.image.dataset.clone(),
            label: label.to_owned(),
            origin: origin.to_owned(),
            ingested_at: self.image.ingested_at,
        });
    }
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

/// Counts of an ingest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct IngestSummary {
    /// Images that were not in the store before.
    pub images_added: u64,
    /// Images that were in the store already: same bytes, under this or another name.
    pub images_known: u64,
    /// Rows added to `labels`.
    pub labels_added: u64,
    /// Rows added to `ground_truth`.
    pub ground_truth_added: u64,
    /// Items that could not be used, or not as requested. Each has a row in `failures`.
    pub failed: u64,
    /// Files skipped because their names are not those of images.
    pub other_files: u64,
    /// Files skipped because a system left them, such as thumbnails and metadata files.
    pub system_files: u64,
}

impl IngestSummary {
    pub(super) fn add(&mut self, other: Self) {
        self.images_added += other.images_added;
        self.images_known += other.images_known;
        self.labels_added += other.labels_added;
        self.ground_truth_added += other.ground_truth_added;
        self.failed += other.failed;
        self.other_files += other.other_files;
        self.system_files += other.system_files;
    }
}
