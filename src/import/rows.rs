//! The rows that imported detections become, and their commits.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field};
use chrono::{DateTime, Utc};

use super::coco_results::{ImportRequest, Placed, Plan};
use crate::Result;
use crate::annotate::images_annotated;
use crate::classes::ClassSet;
use crate::extract::images_done as images_extracted;
use crate::head::{HeadSpec, IMPORTED, StoredSpec, TrainOptions};
use crate::names::ContentId;
use crate::schema::Table;
use crate::store::rows::{
    ExtractionRow, ExtractorRow, FailureRow, HeadRow, MaskRow, PredictionRow, Row, masks_to_batch,
    unrecorded_failures,
};
use crate::store::{Changes, Snapshot, Store};

/// The rows that an import adds.
pub(super) struct Rows {
    pub extractor: ExtractorRow,
    pub head: HeadRow,
    policy: String,
    policy_id: ContentId,
    classes: Vec<String>,
    now: DateTime<Utc>,
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
        let model_type = match plan.boxes {
            true => "imported boxes",
            false => "imported masks",
        };
        let options = serde_json::json!({
            "dataset": request.dataset, "format": "coco-results", "head": request.head,
        })
        .to_string();
        let (now, version) = (snapshot.now(), env!("CARGO_PKG_VERSION").to_owned());
        let dim = snapshot.store().options().embedding.dim;
        let extractor = ExtractorRow {
            extractor_id: ContentId::of_parts([model_type, &sha256, &options]),
            model_type: model_type.to_owned(),
            checkpoint: name.clone(),
            checkpoint_sha256: sha256,
            embedding_dim: i32::try_from(dim).unwrap_or(i32::MAX),
            options,
            grainstore_version: version.clone(),
            created_at: now,
        };
        let spec = serde_json::to_string(&StoredSpec {
            head: HeadSpec {
                hidden: Vec::new(),
                ..HeadSpec::new(0, set.class_names())
            },
            options: TrainOptions::default(),
            skipped: Default::default(),
        })?;
        let detections = plan.images.values().map(Vec::len).sum::<usize>();
        let head = HeadRow {
            head_id: ContentId::of_parts([
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
            weights: Vec::new(),
            query: format!("imported from '{name}'"),
            store_version: i64::try_from(snapshot.version()).unwrap_or(i64::MAX),
            seed: 0,
            parent_head_id: None,
            teacher_head_id: None,
            curves: "[]".to_owned(),
            images_read: i64::try_from(plan.images.len()).unwrap_or(i64::MAX),
            rows_read: i64::try_from(detections).unwrap_or(i64::MAX),
            seconds: 0.0,
            device: IMPORTED.to_owned(),
            grainstore_version: version,
            created_at: now,
        };
        let policy = serde_json::json!({ "imported": name }).to_string();
        Ok(Self {
            extractor,
            head,
            policy_id: ContentId::of_bytes(policy.as_bytes()),
            policy,
            classes: set.class_names(),
            now,
        })
    }

    /// Images whose predictions are there. Their masks may be without them: of a head that was removed, or of other
    /// classes.
    pub async fn images_done(
        &self,
        snapshot: &Snapshot,
        among: Option<Vec<&ContentId>>,
    ) -> Result<HashSet<ContentId>> {
        images_annotated(snapshot, &self.head.head_id, &self.policy_id, among).await
    }

    /// Commits the masks and predictions of some images, but for those that are there; and failures.
    pub async fn commit(
        &self,
        store: &Store,
        images: &[(&ContentId, &Vec<Placed>)],
        failures: &[FailureRow],
    ) -> Result<()> {
        store
            .commit("import coco-results", |snapshot| async move {
                let ids: Vec<&ContentId> = images.iter().map(|(id, _)| *id).collect();
                let extractor_id = &self.extractor.extractor_id;
                let masks_there =
                    images_extracted(&snapshot, extractor_id, Some(ids.clone())).await?;
                let annotated = self.images_done(&snapshot, Some(ids)).await?;
                let new: Vec<_> = images
                    .iter()
                    .filter(|(id, _)| !masks_there.contains(*id))
                    .collect();
                let mut changes = Changes::new();
                let (table, column) = (Table::Extractors, "extractor_id");
                if !snapshot
                    .has_value(table, column, extractor_id.as_str())
                    .await?
                {
                    let row = std::slice::from_ref(&self.extractor);
                    changes.append(ExtractorRow::TABLE, ExtractorRow::to_batch(row)?);
                }
                let head_id = self.head.head_id.as_str();
                if !snapshot.has_value(Table::Heads, "head_id", head_id).await? {
                    let row = std::slice::from_ref(&self.head);
                    changes.append(HeadRow::TABLE, HeadRow::to_batch(row)?);
                }
                let extractions: Vec<ExtractionRow> = new
                    .iter()
                    .map(|(image, detections)| ExtractionRow {
                        extractor_id: extractor_id.clone(),
                        image_id: (*image).clone(),
                        masks: i32::try_from(detections.len()).unwrap_or(i32::MAX),
                        seconds: 0.0,
                        extracted_at: self.now,
                    })
                    .collect();
                let mut predictions = Vec::new();
                for (image, detections) in images {
                    if !annotated.contains(*image) {
                        let placed = detections.iter().zip(0..);
                        predictions.extend(placed.map(|(it, at)| self.prediction(image, it, at)));
                    }
                }
                let dim = store.options().embedding.dim as usize;
                for part in new.chunks(256) {
                    changes.append(Table::Masks, self.masks(store, part, dim)?);
                }
                changes.append(ExtractionRow::TABLE, ExtractionRow::to_batch(&extractions)?);
                changes.append(PredictionRow::TABLE, PredictionRow::to_batch(&predictions)?);
                let failures = unrecorded_failures(&snapshot, failures).await?;
                changes.append(FailureRow::TABLE, FailureRow::to_batch(&failures)?);
                Ok(changes)
            })
            .await?;
        Ok(())
    }

    fn masks(
        &self,
        store: &Store,
        images: &[&(&ContentId, &Vec<Placed>)],
        dim: usize,
    ) -> Result<RecordBatch> {
        let (mut rows, mut boxes) = (Vec::new(), Vec::new());
        for (image, detections) in images {
            for (it, mask_index) in detections.iter().zip(0..) {
                let [x, y, width, height] = it.bbox;
                let size = it.rle.size();
                boxes.push(it.bbox);
                rows.push(MaskRow {
                    extractor_id: self.extractor.extractor_id.clone(),
                    image_id: (*image).clone(),
                    mask_index,
                    rle: it.rle.clone(),
                    predicted_iou: 0.0,
                    stability_score: 0.0,
                    point: [x + width / 2.0, y + height / 2.0],
                    crop_box: [0.0, 0.0, f64::from(size.width), f64::from(size.height)],
                    mask_output: 0,
                    embedding: vec![0.0; dim],
                });
            }
        }
        let batch = masks_to_batch(&rows, store.options().embedding)?;
        // The boxes are those given, not those of the masks.
        let values: Float64Array = boxes.into_iter().flatten().map(Some).collect();
        let item = Arc::new(Field::new("item", DataType::Float64, true));
        let boxes: ArrayRef = Arc::new(FixedSizeListArray::try_new(
            item,
            4,
            Arc::new(values),
            None,
        )?);
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns());
        let columns = columns.map(|(field, column)| match field.name().as_str() {
            "bbox" => boxes.clone(),
            _ => column.clone(),
        });
        Ok(RecordBatch::try_new(schema.clone(), columns.collect())?)
    }

    fn prediction(&self, image: &ContentId, it: &Placed, mask_index: i32) -> PredictionRow {
        PredictionRow {
            head_id: self.head.head_id.clone(),
            policy_id: self.policy_id.clone(),
            image_id: image.clone(),
            extractor_id: self.extractor.extractor_id.clone(),
            mask_index,
            class_index: i32::try_from(it.class).unwrap_or(i32::MAX),
            class: self.classes.get(it.class).cloned().unwrap_or_default(),
            score: it.score,
            entropy: 0.0,
            kept: true,
            dropped: None,
            suppressed_by: None,
            policy: self.policy.clone(),
            created_at: self.now,
        }
    }
}
