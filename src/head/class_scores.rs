//! What a head says of the masks of some images, class by class: for people who look at them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type};

use super::inputs::{HeadInputs, column_of};
use super::predictor::MaskPredictor;
use super::query::masks_with_inputs;
use super::unusable::unusable;
use super::weights::load_head;
use crate::Result;
use crate::catalogue::with_prompted;
use crate::ids::{ExtractorId, ImageId};
use crate::sql::Sql;
use crate::store::{Snapshot, is_of_images};
use crate::task::blocking;

/// Probabilities of a head's classes, by mask.
#[derive(Debug, Clone)]
pub struct ClassScores {
    /// The extractors whose masks these are; an image and an index tell all of them apart.
    pub extractors: Vec<ExtractorId>,
    /// Names of the classes, in the order of the probabilities.
    pub classes: Vec<String>,
    /// Probabilities in [0, 1] by image and mask index; masks without one of the head's inputs are missing. Where the
    /// head knows the background, its probability is what is missing to 1.
    pub of_masks: HashMap<(ImageId, i32), Vec<f32>>,
}

/// Predicts the masks of some images.
///
/// # Errors
/// [`crate::error::CatalogueError`] for a head that does not exist; [`crate::error::HeadError::Unusable`] for a head whose
/// predictions were imported; errors of the store.
pub async fn class_scores(
    snapshot: &Snapshot,
    head: &str,
    images: &[ImageId],
) -> Result<ClassScores> {
    let loaded = load_head(snapshot, head).await?;
    let inputs = HeadInputs::of_row(snapshot, &loaded.row).await?;
    let extractors = with_prompted(snapshot, &loaded.row.extractor_id).await?;
    let text = masks_with_inputs(&extractors, &inputs)?;
    let mut scores = ClassScores {
        extractors,
        classes: loaded.spec.head.classes.clone(),
        of_masks: HashMap::new(),
    };
    if images.is_empty() {
        return Ok(scores);
    }
    let predictor = Arc::new(MaskPredictor::new(loaded)?);
    let frame = Sql::new(snapshot).await?.frame(&text).await?;
    let batches = frame.filter(is_of_images(images))?.collect().await?;
    for batch in batches {
        let columns = inputs.columns_of(&batch)?;
        let ids = cast(&column_of(&batch, "image_id")?, &DataType::Utf8)?;
        let indices = cast(&column_of(&batch, "mask_index")?, &DataType::Int32)?;
        let of_batch = predictor.clone();
        let predicted = blocking("predicting masks", move || {
            let name = of_batch.head().row.head.clone();
            let predicted = of_batch.predict(&columns);
            predicted.map_err(|reason| unusable(&name, reason))
        })
        .await?;
        let indices = indices.as_primitive::<Int32Type>();
        let of_rows = predicted.scores.chunks_exact(predicted.classes.max(1));
        for (row, (id, probabilities)) in ids.as_string::<i32>().iter().zip(of_rows).enumerate() {
            let is_known = predicted.nulls.as_ref().is_none_or(|it| it.is_valid(row));
            if let (Some(id), true, true) = (id, is_known, indices.is_valid(row)) {
                let key = (ImageId::try_from(id.to_owned())?, indices.value(row));
                scores.of_masks.insert(key, probabilities.to_vec());
            }
        }
    }
    Ok(scores)
}
