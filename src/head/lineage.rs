//! The rows of trained heads: where they come from, beside their weights.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::curve::{Curve, Phase};
use super::inputs::{HeadInputs, Normalisation};
use super::query::TrainingQuery;
use super::spec::HeadSpec;
use super::trained::TrainedHead;
use super::weights::{HeadWeights, LoadedHead, StoredSpec};
use crate::Result;
use crate::catalogue::heads_stored;
use crate::classes::ClassSet;
use crate::device::DeviceName;
use crate::ids::{ExtractorId, HeadId};
use crate::store::rows::{HeadRow, Row};
use crate::store::{Changes, Store};

/// What goes into a head's row besides the weights.
pub(super) struct Lineage<'a> {
    pub name: &'a str,
    pub device: &'a DeviceName,
    pub class_set: &'a ClassSet,
    pub query: &'a TrainingQuery,
    pub inputs: &'a HeadInputs,
    pub normalisations: &'a [Normalisation],
    pub parent: Option<&'a LoadedHead>,
    pub spec: StoredSpec,
    pub extractor_id: ExtractorId,
    pub store_version: u64,
    pub images: u64,
    pub masks: u64,
    pub seconds: f64,
    pub created_at: DateTime<Utc>,
}

/// The name of a student's teacher.
pub(super) fn teacher_name(student: &str) -> String {
    format!("{student}.teacher")
}

/// The name of a refined head's student.
pub(super) fn student_name(refined: &str) -> String {
    format!("{refined}.student")
}

impl Lineage<'_> {
    /// The rows of the head and of those that it was trained from, which come first; and the head's id.
    pub fn rows(&self, trained: &TrainedHead) -> Result<(Vec<HeadRow>, HeadId)> {
        let plain = StoredSpec {
            refined: None,
            temperatures: Vec::new(),
            ..self.spec.clone()
        };
        let until = |phase: &[Phase]| -> Vec<Curve> {
            let curves = trained.curves.iter();
            let curves = curves.filter(|curve| phase.contains(&curve.phase));
            curves.cloned().collect()
        };
        let (mut rows, mut taught_by) = (Vec::new(), None);
        if let Some(teacher) = &trained.teacher {
            let curves = until(&[Phase::Teacher]);
            let name = teacher_name(self.name);
            let learns_masks = !self.spec.options.loss().distills();
            let spec = StoredSpec {
                head: HeadSpec {
                    background: plain.head.background && learns_masks,
                    ..plain.head.clone()
                },
                mask_labels: plain.mask_labels.filter(|_| learns_masks),
                ..plain.clone()
            };
            let row = self.row(name, &spec, teacher, &curves, taught_by)?;
            taught_by = Some(row.head_id.clone());
            rows.push(row);
        }
        if let Some(student) = &trained.student {
            let curves = until(&[Phase::Teacher, Phase::Student]);
            let name = student_name(self.name);
            let row = self.row(name, &plain, student, &curves, taught_by)?;
            taught_by = Some(row.head_id.clone());
            rows.push(row);
        }
        let spec = match self.spec.refined {
            Some(_) => StoredSpec {
                head: self
                    .spec
                    .head
                    .with_background(self.spec.options.refine_dropout),
                ..self.spec.clone()
            },
            // Heads of labelled masks alone have a temperature, too.
            None => StoredSpec {
                temperatures: self.spec.temperatures.clone(),
                ..plain
            },
        };
        let name = self.name.to_owned();
        let row = self.row(name, &spec, &trained.weights, &trained.curves, taught_by)?;
        let head_id = row.head_id.clone();
        rows.push(row);
        Ok((rows, head_id))
    }

    fn row(
        &self,
        name: String,
        spec: &StoredSpec,
        weights: &HeadWeights,
        curves: &[Curve],
        teacher_head_id: Option<HeadId>,
    ) -> Result<HeadRow> {
        let spec = serde_json::to_string(spec)?;
        let weights = weights.to_safetensors(HashMap::new())?;
        let parent_head_id = self.parent.map(|parent| parent.row.head_id.clone());
        let weights_id = HeadId::of_bytes(&weights);
        let class_set = self.class_set;
        let head_id = HeadId::of_parts([
            name.as_str(),
            weights_id.as_str(),
            &spec,
            self.extractor_id.as_str(),
            &class_set.name,
            &class_set.version.to_string(),
            self.query.text(),
            &self.store_version.to_string(),
            parent_head_id.as_ref().map_or("", |id| id.as_str()),
            teacher_head_id.as_ref().map_or("", |id| id.as_str()),
        ]);
        Ok(HeadRow {
            head_id,
            head: name,
            extractor_id: self.extractor_id.clone(),
            class_set: class_set.name.clone(),
            class_set_version: class_set.version,
            spec,
            inputs: self.inputs.to_json()?,
            normalise: serde_json::to_string(self.normalisations)?,
            weights: Some(weights),
            query: self.query.text().to_owned(),
            store_version: i64::try_from(self.store_version).ok(),
            seed: Some(self.spec.options.stored_seed()?),
            parent_head_id,
            teacher_head_id,
            curves: serde_json::to_string(curves)?,
            images_read: self.images as i64,
            rows_read: self.masks as i64,
            seconds: self.seconds,
            device: Some(self.device.to_string()),
            grainstore_version: env!("CARGO_PKG_VERSION").to_owned(),
            created_at: self.created_at,
        })
    }
}

/// Commits the rows of heads that are not in the store yet.
pub(super) async fn commit(store: &Store, rows: &[HeadRow]) -> Result<()> {
    store
        .commit("train", |head| async move {
            let stored = heads_stored(&head).await?;
            let is_new = |row: &&HeadRow| stored.iter().all(|known| known.head_id != row.head_id);
            let created_at = head.now();
            let new = rows.iter().filter(is_new).cloned();
            let new: Vec<HeadRow> = new.map(|row| HeadRow { created_at, ..row }).collect();
            for row in &new {
                // An embedder may have been removed meanwhile.
                HeadInputs::of_row(&head, row).await?;
            }
            let mut changes = Changes::new();
            changes.append(HeadRow::TABLE, HeadRow::to_batch(&new)?);
            Ok(changes)
        })
        .await?;
    Ok(())
}
