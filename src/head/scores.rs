//! What a head says of all masks of its extractor, and how far its members, or several passes with dropout, disagree.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Float32Array, Float64Array, Int32Array, RecordBatch, StringArray,
};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};

use super::inputs::{HeadInputs, column_of};
use super::predictor::{DropoutPasses, MaskPredictor};
use super::query::masks_with_inputs;
use super::unusable::unusable;
use super::weights::load_head;
use crate::Result;
use crate::catalogue::with_prompted;
use crate::progress::Progress;
use crate::sql::Sql;
use crate::store::Snapshot;
use crate::task::blocking;

/// Predicts all masks: a row per mask with the columns of the query `review/head_scores`.
///
/// # Errors
/// [`crate::error::CatalogueError`] for a head that does not exist; [`crate::error::HeadError::Unusable`] for passes with
/// dropout of a head without a hidden layer, for a head of one member without such passes, and for heads whose predictions were imported; errors of the store.
pub async fn head_scores(
    snapshot: &Snapshot,
    head: &str,
    dropout: Option<DropoutPasses>,
    progress: &dyn Progress,
) -> Result<RecordBatch> {
    let loaded = load_head(snapshot, head).await?;
    if dropout.is_some() && loaded.spec.head.hidden.is_empty() {
        return Err(unusable(
            &loaded.row.head,
            "it has no hidden layer of which units could be dropped",
        ));
    }
    if dropout.is_none() && loaded.weights.members() == 1 {
        return Err(unusable(
            &loaded.row.head,
            "it has one member, so none disagree; a head of several does, and so do passes with dropout",
        ));
    }
    let inputs = HeadInputs::of_row(snapshot, &loaded.row).await?;
    let extractors = with_prompted(snapshot, &loaded.row.extractor_id).await?;
    let text = masks_with_inputs(&extractors, &inputs)?;
    let classes = loaded.spec.head.classes.clone();
    let predictor = Arc::new(MaskPredictor::new(loaded)?);
    let mut rows = Sql::new(snapshot).await?.query(&text).await?;
    progress.start("masks", None);
    let mut parts = Vec::new();
    while let Some(batch) = rows.next().await? {
        let count = batch.num_rows() as u64;
        let (predictor, classes, inputs) = (predictor.clone(), classes.clone(), inputs.clone());
        let scored = move || scored(&batch, &predictor, &classes, &inputs, dropout);
        parts.push(blocking("predicting masks", scored).await?);
        progress.advance(count);
    }
    progress.finish();
    Ok(concat_batches(&schema(), &parts)?)
}

fn schema() -> Arc<Schema> {
    let column = |name: &str, kind: DataType| Field::new(name, kind, true);
    Arc::new(Schema::new(vec![
        column("image_id", DataType::Utf8),
        column("extractor_id", DataType::Utf8),
        column("mask_index", DataType::Int32),
        column("class_index", DataType::Int32),
        column("class", DataType::Utf8),
        column("score", DataType::Float32),
        column("entropy", DataType::Float32),
        column("disagreement", DataType::Float64),
    ]))
}

fn scored(
    batch: &RecordBatch,
    predictor: &MaskPredictor,
    classes: &[String],
    inputs: &HeadInputs,
    dropout: Option<DropoutPasses>,
) -> Result<RecordBatch> {
    let columns = inputs.columns_of(batch)?;
    let images = cast(&column_of(batch, "image_id")?, &DataType::Utf8)?;
    let indices = cast(&column_of(batch, "mask_index")?, &DataType::Int32)?;
    let name = &predictor.head().row.head;
    let predicted = match dropout {
        None => predictor.predict(&columns),
        Some(passes) => {
            let (ids, places) = (
                images.as_string::<i32>(),
                indices.as_primitive::<Int32Type>(),
            );
            let seed = |row: usize| passes.seed_of(ids.value(row), places.value(row));
            let seeds: Vec<u64> = (0..batch.num_rows()).map(seed).collect();
            predictor.predict_with_dropout(&columns, passes, &seeds)
        }
    };
    let predicted = predicted.map_err(|reason| unusable(name, reason))?;
    let best: Vec<(usize, f32)> = predicted.best().collect();
    // A mask without one of the inputs has no prediction.
    let known = |row: usize| {
        let nulls = predicted.nulls.as_ref();
        nulls.is_none_or(|nulls| nulls.is_valid(row))
    };
    let of = |row: usize| best.get(row).filter(|_| known(row));
    let rows = 0..batch.num_rows();
    let class_indices = rows
        .clone()
        .map(|row| of(row).map(|(class, _)| i32::try_from(*class).unwrap_or(i32::MAX)));
    let names = rows.clone().map(|row| {
        let class = of(row).and_then(|(class, _)| classes.get(*class));
        class.map(String::as_str)
    });
    let scores = rows.clone().map(|row| of(row).map(|(_, score)| *score));
    let number = |values: &[f32], row: usize| values.get(row).copied().filter(|_| known(row));
    let entropy = rows.clone().map(|row| number(&predicted.entropy, row));
    let disagreement = rows.map(|row| number(&predicted.disagreement, row).map(f64::from));
    let columns: Vec<ArrayRef> = vec![
        images,
        cast(&column_of(batch, "extractor_id")?, &DataType::Utf8)?,
        indices,
        Arc::new(class_indices.collect::<Int32Array>()),
        Arc::new(names.collect::<StringArray>()),
        Arc::new(scores.collect::<Float32Array>()),
        Arc::new(entropy.collect::<Float32Array>()),
        Arc::new(disagreement.collect::<Float64Array>()),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}
