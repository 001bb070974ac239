//! Plans what to write of a batch: rows that are new to the store, and failures for contradictions with it. It reads
//! the store; the [`writer`](super::writer) writes to it.

use std::collections::{HashMap, HashSet};

use super::outcome::{IngestSummary, Outcome, Record};
use crate::Result;
use crate::ids::{FailureId, GroundTruthId, ImageId};
use crate::store::rows::{
    FailureRow, GroundTruthRow, ImageRow, LabelRow, Row, unrecorded_failures,
};
use crate::store::{Changes, ImageSet, Snapshot, is_of_images};

/// Rows of the store for the images of a batch.
#[derive(Debug, Default)]
pub(super) struct Known {
    images: HashMap<ImageId, KnownImage>,
    labels: HashSet<(ImageId, String, String)>,
    /// Annotation ids, by image and data set.
    ground_truth: HashMap<(ImageId, String), HashSet<GroundTruthId>>,
}

#[derive(Debug, Clone, serde::Deserialize)]
struct KnownImage {
    image_id: ImageId,
    file_name: String,
    source: String,
    split: Option<String>,
    dataset: String,
    external_id: Option<i64>,
}

impl From<&ImageRow> for KnownImage {
    fn from(row: &ImageRow) -> Self {
        Self {
            image_id: row.image_id.clone(),
            file_name: row.file_name.clone(),
            source: row.source.clone(),
            split: row.split.clone(),
            dataset: row.dataset.clone(),
            external_id: row.external_id,
        }
    }
}

impl Known {
    /// Looks up the batch's ids. Reads only columns that identify rows. `stored` holds the images of the store.
    pub async fn read(head: &Snapshot, batch: &[Outcome], stored: &ImageSet) -> Result<Self> {
        #[derive(serde::Deserialize)]
        struct Label {
            image_id: ImageId,
            dataset: String,
            label: String,
        }
        #[derive(serde::Deserialize)]
        struct GroundTruth {
            ground_truth_id: GroundTruthId,
            image_id: ImageId,
            dataset: String,
        }

        let image_ids = batch.iter().filter_map(|outcome| outcome.record.as_ref());
        let image_ids = image_ids.map(|record| &record.image.image_id);
        // The others have no labels and no ground truth, either.
        let image_ids = stored.among(head, image_ids.collect::<Vec<_>>()).await?;
        let mut known = Self::default();
        if !image_ids.is_empty() {
            let columns = [
                "image_id",
                "file_name",
                "source",
                "split",
                "dataset",
                "external_id",
            ];
            let of_batch = || is_of_images(&image_ids);
            for image in read::<ImageRow, KnownImage>(head, &columns, of_batch()).await? {
                known.images.insert(image.image_id.clone(), image);
            }
            let columns = ["image_id", "dataset", "label"];
            for row in read::<LabelRow, Label>(head, &columns, of_batch()).await? {
                known.labels.insert((row.image_id, row.dataset, row.label));
            }
            let columns = ["ground_truth_id", "image_id", "dataset"];
            for row in read::<GroundTruthRow, GroundTruth>(head, &columns, of_batch()).await? {
                let key = (row.image_id, row.dataset);
                known
                    .ground_truth
                    .entry(key)
                    .or_default()
                    .insert(row.ground_truth_id);
            }
        }
        Ok(known)
    }
}

async fn read<R: Row, T: serde::de::DeserializeOwned>(
    head: &Snapshot,
    columns: &[&str],
    filter: datafusion::logical_expr::Expr,
) -> Result<Vec<T>> {
    if head.count(R::TABLE).await? == 0 {
        return Ok(Vec::new());
    }
    let batches = head
        .scan(R::TABLE)
        .await?
        .project(columns)?
        .filter(filter)
        .collect()
        .await?;
    let mut rows = Vec::new();
    for batch in batches {
        rows.extend(crate::store::rows::decode::<T>(R::TABLE, &batch)?);
    }
    Ok(rows)
}

/// The rows to write for a batch.
#[derive(Debug, Default)]
pub(super) struct Plan {
    images: Vec<ImageRow>,
    labels: Vec<LabelRow>,
    ground_truth: Vec<GroundTruthRow>,
    failures: Vec<FailureRow>,
    failure_ids: HashSet<FailureId>,
    /// Failures among these that only planning could find.
    pub contradictions: Vec<FailureRow>,
    pub summary: IngestSummary,
}

impl Plan {
    /// The rows to write.
    pub fn changes(&self) -> Result<Changes> {
        let mut changes = Changes::new();
        changes.append(ImageRow::TABLE, ImageRow::to_batch(&self.images)?);
        changes.append(LabelRow::TABLE, LabelRow::to_batch(&self.labels)?);
        changes.append(
            GroundTruthRow::TABLE,
            GroundTruthRow::to_batch(&self.ground_truth)?,
        );
        changes.append(FailureRow::TABLE, FailureRow::to_batch(&self.failures)?);
        Ok(changes)
    }

    /// The images among them.
    pub fn new_images(&self) -> impl Iterator<Item = &ImageId> {
        self.images.iter().map(|row| &row.image_id)
    }

    fn fail(&mut self, failure: FailureRow) {
        self.summary.failed += 1;
        if self.failure_ids.insert(failure.failure_id.clone()) {
            self.failures.push(failure);
        }
    }

    fn contradict(&mut self, image: &ImageRow, reason: &str) {
        let mut failure = FailureRow::new("ingest", Some(&image.dataset), &image.file_name, reason);
        failure.image_id = Some(image.image_id.clone());
        self.contradictions.push(failure.clone());
        self.fail(failure);
    }

    /// Drops failures that are recorded already. They are counted but not written again.
    pub async fn leave_out_known_failures(&mut self, head: &Snapshot) -> Result<()> {
        self.failures = unrecorded_failures(head, &self.failures).await?;
        Ok(())
    }
}

/// Leaves out rows that the store has, and turns contradictions into failures.
pub(super) fn plan_batch(batch: &[Outcome], mut known: Known, split: Option<&str>) -> Plan {
    let mut plan = Plan::default();
    for outcome in batch {
        for failure in &outcome.failures {
            plan.fail(failure.clone());
        }
        let Some(Record {
            image,
            labels,
            ground_truth,
        }) = &outcome.record
        else {
            continue;
        };
        match known.images.get(&image.image_id) {
            None => {
                known.images.insert(image.image_id.clone(), image.into());
                plan.images.push(image.clone());
                plan.summary.images_added += 1;
            }
            Some(found) => {
                plan.summary.images_known += 1;
                let reasons = contradictions(found, image, split);
                for reason in &reasons {
                    plan.contradict(image, &reason.text);
                }
                if reasons.iter().any(|reason| reason.other_image) {
                    continue;
                }
            }
        }
        for label in labels {
            let key = (
                label.image_id.clone(),
                label.dataset.clone(),
                label.label.clone(),
            );
            if known.labels.insert(key) {
                plan.labels.push(label.clone());
                plan.summary.labels_added += 1;
            }
        }
        if let Some(ground_truth) = ground_truth {
            plan_ground_truth(&mut plan, &mut known, image, ground_truth);
        }
    }
    plan
}

/// Plans the annotations of an image in a data set. They may be added to but not changed.
fn plan_ground_truth(
    plan: &mut Plan,
    known: &mut Known,
    image: &ImageRow,
    ground_truth: &[GroundTruthRow],
) {
    let given: HashSet<_> = ground_truth
        .iter()
        .map(|row| &row.ground_truth_id)
        .collect();
    let key = (image.image_id.clone(), image.dataset.clone());
    let stored = known.ground_truth.entry(key).or_default();
    let changed = stored.iter().filter(|id| !given.contains(id)).count();
    if changed > 0 {
        let reason = format!(
            "{changed} of its {} annotations in the store are not in the file as they were; \
             nothing was changed: ingest the new annotations as another data set",
            stored.len()
        );
        plan.contradict(image, &reason);
        return;
    }
    for row in ground_truth {
        if stored.insert(row.ground_truth_id.clone()) {
            plan.ground_truth.push(row.clone());
            plan.summary.ground_truth_added += 1;
        }
    }
}

struct Contradiction {
    text: String,
    /// Whether the data set has the same bytes as two images.
    other_image: bool,
}

/// How an image of this run contradicts the stored one. The stored values stay.
fn contradictions(found: &KnownImage, image: &ImageRow, split: Option<&str>) -> Vec<Contradiction> {
    let id = |id: Option<i64>| id.map_or("none".to_owned(), |id| id.to_string());
    if found.dataset == image.dataset && found.external_id != image.external_id {
        return vec![Contradiction {
            text: format!(
                "same bytes as '{}' (image id {}), which is in the store; image id {} and its \
                 annotations are left out",
                found.file_name,
                id(found.external_id),
                id(image.external_id),
            ),
            other_image: true,
        }];
    }
    let mut texts = Vec::new();
    if found.dataset != image.dataset && image.external_id.is_some() {
        texts.push(format!(
            "the image came with data set '{}' and keeps its image id, {}; that of '{}', {}, is not kept",
            found.dataset,
            id(found.external_id),
            image.dataset,
            id(image.external_id),
        ));
    }
    if found.source != image.source {
        texts.push(format!(
            "the image is in the store with source '{}' and keeps it; '{}' was asked for",
            found.source, image.source
        ));
    }
    if let Some(split) = split
        && found.split.as_deref() != Some(split)
    {
        let stored = found
            .split
            .as_deref()
            .map_or("no split".to_owned(), |s| format!("split '{s}'"));
        texts.push(format!(
            "the image is in the store with {stored} and keeps it; '{split}' was asked for"
        ));
    }
    let told = |text| Contradiction {
        text,
        other_image: false,
    };
    texts.into_iter().map(told).collect()
}

#[cfg(test)]
mod tests;
