//! The rows that imported detections become, and how they are committed.

use std::collections::HashSet;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};

use super::coco_results::{ImportRequest, Placed, Plan};
use crate::annotate::predictions_of;
use crate::catalogue::imported_policy;
use crate::classes::ClassSet;
use crate::extract::images_of_extractor;
use crate::head::{HeadSpec, StoredSpec};
use crate::ids::{ExtractorId, HeadId, ImageId};
use crate::schema::Table;
use crate::store::rows::{
    ExtractionRow, ExtractorKind, ExtractorRow, FailureRow, HeadRow, MaskRow, PolicyRow,
    PredictionRow, Row, masks_to_batch, unrecorded_failures,
};
use crate::store::{Changes, ImageSet, Snapshot, Store};
use crate::{Error, Result};

/// The rows that an import adds.
pub(super) struct Rows {
    pub extractor: ExtractorRow,
    pub head: HeadRow,
    policy: PolicyRow,
    classes: Vec<String>,
    /// Images with masks of the extractor.
    extracted: ImageSet,
    /// Images with predictions of the head. Masks may be there without predictions, if the head was removed or had other
    /// classes.
    predicted: ImageSet,
}

impl Rows {
    pub fn new(
        request: &ImportRequest,
        set: &ClassSet,
        plan: &Plan,
        sha256: String,
        snapshot: &Snapshot,
    ) -> Result<Self> {
        let name = request.file.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        let kind = if plan.boxes {
            ExtractorKind::ImportedBoxes
        } else {
            ExtractorKind::ImportedMasks
        };
        let options = serde_json::json!({
            "dataset": request.dataset, "format": "coco-results", "head": request.head,
        })
        .to_string();
        let (now, version) = (snapshot.now(), env!("CARGO_PKG_VERSION").to_owned());
        let extractor = ExtractorRow {
            extractor_id: ExtractorId::of_parts([kind.as_str(), &sha256, &options]),
            kind,
            model_type: None,
            checkpoint: name.clone(),
            checkpoint_sha256: sha256,
            embedding_dim: None,
            embedding_space: None,
            options,
            grainstore_version: version.clone(),
            created_at: now,
        };
        let spec = serde_json::to_string(&StoredSpec::untrained(HeadSpec {
            hidden: Vec::new(),
            ..HeadSpec::new(0, set.class_names())
        }))?;
        let detections = plan.images.values().map(Vec::len).sum::<usize>();
        let head = HeadRow {
            head_id: HeadId::of_parts([
                request.head.as_str(),
                extractor.extractor_id.as_str(),
                &set.name,
                &set.version.to_string(),
            ]),
            head: request.head.clone(),
            extractor_id: extractor.extractor_id.clone(),
            class_set: set.name.clone(),
            class_set_version: set.version,
            spec,
            inputs: "[]".to_owned(),
            normalise: "[]".to_owned(),
            weights: None,
            query: name,
            store_version: i64::try_from(snapshot.version()).ok(),
            seed: None,
            parent_head_id: None,
            teacher_head_id: None,
            curves: "[]".to_owned(),
            images_read: plan.images.len() as i64,
            rows_read: detections as i64,
            seconds: 0.0,
            device: None,
            grainstore_version: version,
            created_at: now,
        };
        let policy = imported_policy(&head);
        let of_head = predictions_of(&head.head_id, &policy.policy_id);
        Ok(Self {
            policy,
            classes: set.class_names(),
            extracted: images_of_extractor(&extractor.extractor_id),
            predicted: ImageSet::new(Table::Predictions, of_head),
            extractor,
            head,
        })
    }

    /// Those of some images whose predictions are already there.
    pub async fn images_done<'a>(
        &self,
        snapshot: &Snapshot,
        images: impl IntoIterator<Item = &'a ImageId>,
    ) -> Result<HashSet<ImageId>> {
        self.predicted.among(snapshot, images).await
    }

    /// Commits failures, and the masks and predictions of some images, except those that are already there.
    pub async fn commit(
        &self,
        store: &Store,
        images: &[(&ImageId, &Vec<Placed>)],
        failures: &[FailureRow],
    ) -> Result<()> {
        let ids: Vec<&ImageId> = images.iter().map(|(id, _)| *id).collect();
        let of_commit = &ids;
        let commit = store
            .commit("import coco-results", |snapshot| async move {
                let ids = || of_commit.iter().copied();
                let extractor_id = &self.extractor.extractor_id;
                let masks_there = self.extracted.among(&snapshot, ids()).await?;
                let annotated = self.images_done(&snapshot, ids()).await?;
                let new: Vec<_> = images
                    .iter()
                    .filter(|(id, _)| !masks_there.contains(*id))
                    .collect();
                let now = snapshot.now();
                let mut changes = Changes::new();
                let policy = PolicyRow {
                    created_at: now,
                    ..self.policy.clone()
                };
                policy.append_if_new(&snapshot, &mut changes).await?;
                let (table, column) = (Table::Extractors, "extractor_id");
                if !snapshot
                    .has_value(table, column, extractor_id.as_str())
                    .await?
                {
                    let row = ExtractorRow {
                        created_at: now,
                        ..self.extractor.clone()
                    };
                    changes.append(ExtractorRow::TABLE, ExtractorRow::to_batch(&[row])?);
                }
                let head_id = self.head.head_id.as_str();
                if !snapshot.has_value(Table::Heads, "head_id", head_id).await? {
                    let row = HeadRow {
                        created_at: now,
                        ..self.head.clone()
                    };
                    changes.append(HeadRow::TABLE, HeadRow::to_batch(&[row])?);
                }
                let extractions: Vec<ExtractionRow> = new
                    .iter()
                    .map(|(image, detections)| ExtractionRow {
                        extractor_id: extractor_id.clone(),
                        image_id: (*image).clone(),
                        masks: detections.len() as i32,
                        seconds: 0.0,
                        extracted_at: now,
                    })
                    .collect();
                let mut predictions = Vec::new();
                for (image, detections) in images {
                    if !annotated.contains(*image) {
                        for (it, at) in detections.iter().zip(0..) {
                            predictions.push(self.prediction(image, it, at, now)?);
                        }
                    }
                }
                for part in new.chunks(256) {
                    changes.append(Table::Masks, self.masks(store, part)?);
                }
                changes.append(ExtractionRow::TABLE, ExtractionRow::to_batch(&extractions)?);
                changes.append(PredictionRow::TABLE, PredictionRow::to_batch(&predictions)?);
                let failures = unrecorded_failures(&snapshot, failures).await?;
                changes.append(FailureRow::TABLE, FailureRow::to_batch(&failures)?);
                Ok(changes)
            })
            .await?;
        if commit.changed {
            self.extracted
                .add(&commit.snapshot, ids.iter().copied())
                .await?;
            self.predicted.add(&commit.snapshot, ids).await?;
        }
        Ok(())
    }

    fn masks(&self, store: &Store, images: &[&(&ImageId, &Vec<Placed>)]) -> Result<RecordBatch> {
        let mut rows = Vec::new();
        for (image, detections) in images {
            for (it, mask_index) in detections.iter().zip(0..) {
                let size = it.rle.size();
                rows.push(MaskRow {
                    extractor_id: self.extractor.extractor_id.clone(),
                    image_id: (*image).clone(),
                    mask_index,
                    rle: it.rle.clone(),
                    bbox: Some(it.bbox),
                    predicted_iou: None,
                    stability_score: None,
                    point: None,
                    crop_box: [0.0, 0.0, f64::from(size.width), f64::from(size.height)],
                    mask_output: None,
                    embedding: None,
                    object_score: None,
                });
            }
        }
        masks_to_batch(&rows, store.options().embedding)
    }

    fn prediction(
        &self,
        image: &ImageId,
        it: &Placed,
        mask_index: i32,
        created_at: DateTime<Utc>,
    ) -> Result<PredictionRow> {
        let class = self.classes.get(it.class).ok_or(Error::Internal {
            what: "a detection is of a class that its set does not have",
        })?;
        Ok(PredictionRow {
            head_id: self.head.head_id.clone(),
            policy_id: self.policy.policy_id.clone(),
            image_id: image.clone(),
            extractor_id: self.extractor.extractor_id.clone(),
            mask_index,
            class_index: it.class as i32,
            class: class.clone(),
            score: it.score,
            entropy: None,
            kept: true,
            dropped: None,
            suppressed_by: None,
            created_at,
        })
    }
}
