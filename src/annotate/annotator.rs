//! The computation: batches of masks in, complete images out, with a prediction and a decision for every mask.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, RecordBatch, StringArray};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Int32Type};
use rayon::prelude::*;

use super::decider::{Candidate, Decider, Verdict};
use crate::geometry::Rle;
use crate::head::{HeadInput, HeadInputs, MaskPredictor};
use crate::ids::ImageId;
use crate::schema::Table;
use crate::sql::functions::mask_shapes;
use crate::store::columns::RleColumn;
use crate::store::rows::RleRow;
use crate::{Error, Result};

/// A head's prediction for a mask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct MaskPrediction {
    pub candidate: Candidate,
    pub entropy: Option<f32>,
}

/// The source of predictions.
pub(super) enum Predictors {
    /// A head, which predicts from its inputs.
    Head(Box<MaskPredictor>, HeadInputs),
    /// Predictions that were made before.
    Stored(HashMap<ImageId, HashMap<i32, MaskPrediction>>),
}

/// An image whose masks have all been decided on.
#[derive(Debug)]
pub(super) struct DecidedImage {
    pub image_id: ImageId,
    pub masks: Vec<(MaskPrediction, Verdict)>,
}

/// Assembles images from batches of masks.
pub(super) struct Annotator {
    pub predictors: Predictors,
    pub policy: Decider,
    /// Number of masks of each image.
    pub expected: HashMap<ImageId, usize>,
    /// Images of which only some masks have arrived.
    pub open: HashMap<ImageId, OpenImage>,
}

/// An image of which only some masks have arrived.
#[derive(Default)]
pub(super) struct OpenImage {
    /// Masks that have arrived.
    seen: usize,
    /// Those of them that have a prediction.
    masks: Vec<(MaskPrediction, Option<RleRow>)>,
}

impl Annotator {
    /// Columns of `masks` that it needs.
    pub fn columns(&self) -> Vec<&'static str> {
        let mut columns = vec![
            "image_id",
            "mask_index",
            "rle",
            "predicted_iou",
            "stability_score",
        ];
        if let Predictors::Head(_, inputs) = &self.predictors
            && inputs.has_tokens()
        {
            columns.push("embedding");
        }
        columns
    }

    /// Takes a batch and returns the images that it completes.
    ///
    /// # Errors
    /// [`Error::RowCodec`] for columns that are not those of `masks`; errors of a mask that cannot be read.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<Vec<DecidedImage>> {
        let column = |name: &str| {
            let found = batch.column_by_name(name);
            found.ok_or_else(|| bad(format!("column '{name}' is missing")))
        };
        let images = text(column("image_id")?)?;
        let indices = column("mask_index")?.as_primitive_opt::<Int32Type>();
        let indices = indices.ok_or_else(|| bad("'mask_index' holds no INT".to_owned()))?;
        let quality = |name: &str| {
            let column = column(name)?.as_primitive_opt::<Float32Type>();
            column.ok_or_else(|| bad(format!("'{name}' holds no FLOAT")))
        };
        let (predicted, stability) = (quality("predicted_iou")?, quality("stability_score")?);
        let rles = RleColumn::new(column("rle")?)?;

        let found = match &self.predictors {
            Predictors::Head(predictor, inputs) => {
                let mut columns = Vec::with_capacity(inputs.count());
                for input in inputs.iter() {
                    columns.push(match input {
                        HeadInput::Shape => shapes(batch)?,
                        other => column(other.column())?.clone(),
                    });
                }
                let predicted = predictor.predict(&columns).map_err(bad)?;
                let best: Vec<(usize, f32)> = predicted.best().collect();
                Some((best, predicted))
            }
            Predictors::Stored(_) => None,
        };
        let mut complete = Vec::new();
        for row in 0..batch.num_rows() {
            let image_id = ImageId::try_from(images.value(row).to_owned())?;
            let Some(expected) = self.expected.get(&image_id).copied() else {
                continue;
            };
            let mask_index = indices.value(row);
            let is_null = |nulls: &NullBuffer| nulls.is_null(row);
            let prediction = match (&self.predictors, &found) {
                // A mask without a vector has no prediction.
                (_, Some((_, predicted))) if predicted.nulls.as_ref().is_some_and(is_null) => None,
                (_, Some((best, predicted))) => {
                    let (Some((class, score)), Some(entropy)) =
                        (best.get(row), predicted.entropy.get(row))
                    else {
                        return Err(Error::Internal {
                            what: "a head predicts nothing for a mask",
                        });
                    };
                    Some(MaskPrediction {
                        candidate: Candidate {
                            mask_index,
                            class: u32::try_from(*class).map_err(|_| Error::Internal {
                                what: "a head has more than 2^32 classes",
                            })?,
                            score: f64::from(*score),
                            ..Candidate::default()
                        },
                        entropy: Some(*entropy),
                    })
                }
                (Predictors::Stored(stored), None) => {
                    let of_image = stored.get(&image_id);
                    of_image.and_then(|masks| masks.get(&mask_index)).copied()
                }
                (Predictors::Head(..), None) => None,
            };
            let image = self.open.entry(image_id.clone()).or_default();
            image.seen += 1;
            if let Some(mut prediction) = prediction {
                let value = |column: &Float32Array| column.is_valid(row).then(|| column.value(row));
                prediction.candidate.predicted_iou = value(predicted);
                prediction.candidate.stability_score = value(stability);
                // The policy looks only at the pixels of candidates.
                let rle = self
                    .policy
                    .is_candidate(&prediction.candidate)
                    .then(|| rles.row(row))
                    .flatten();
                image.masks.push((prediction, rle));
            }
            if image.seen == expected
                && let Some(image) = self.open.remove(&image_id)
            {
                complete.push((image_id, image.masks));
            }
        }
        let policy = &self.policy;
        complete
            .into_par_iter()
            .map(|(image_id, masks)| decide(policy, image_id, masks))
            .collect()
    }
}

fn decide(
    policy: &Decider,
    image_id: ImageId,
    mut masks: Vec<(MaskPrediction, Option<RleRow>)>,
) -> Result<DecidedImage> {
    // The order of the rows depends on how the table is split into files; the order of the masks must not.
    masks.sort_by_key(|(prediction, _)| prediction.candidate.mask_index);
    let candidates: Vec<Candidate> = masks.iter().map(|(it, _)| it.candidate).collect();
    let verdicts = policy.decide(&candidates, |at| {
        let rle = masks.get(at).and_then(|(_, rle)| rle.as_ref());
        let rle = rle.ok_or_else(|| bad(format!("mask {at} of image '{image_id}' is missing")))?;
        Rle::try_from(rle)
    })?;
    let predictions = masks.into_iter().map(|(prediction, _)| prediction);
    Ok(DecidedImage {
        image_id,
        masks: predictions.zip(verdicts).collect(),
    })
}

/// The six numbers of each mask's shape.
fn shapes(batch: &RecordBatch) -> Result<ArrayRef> {
    let column = |name: &str| {
        let found = batch.column_by_name(name).cloned();
        found.ok_or_else(|| bad(format!("column '{name}' is missing")))
    };
    let masks = [
        column("rle")?,
        column("predicted_iou")?,
        column("stability_score")?,
    ];
    Ok(mask_shapes(&masks)?)
}

fn text(column: &ArrayRef) -> Result<StringArray> {
    Ok(cast(column, &DataType::Utf8)?.as_string().clone())
}

fn bad(reason: String) -> Error {
    Error::RowCodec {
        table: Table::Masks.name().to_owned(),
        reason,
    }
}
