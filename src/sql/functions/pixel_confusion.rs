//! `pixel_confusion(truth_index, predicted_index, mask)`: aggregate; how many pixels of each annotated class are predicted as
//! each class.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int32Builder, Int64Builder};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{AggregateUDF, DocSection, Documentation};

use super::aggregate::Aggregate;
use super::arguments::{error_in_row, mask_of, missing_columns};
use super::kept_rows::{Groups, OfRows, list_of};
use crate::geometry::{ConfusedPixels, Rle, confusion};
use crate::schema::list_item;
use crate::store::columns::{RleColumn, rle_type};

type Result<T, E = DataFusionError> = std::result::Result<T, E>;

pub(super) fn function() -> AggregateUDF {
    let documentation = Documentation::builder(
        DocSection::default(),
        "Compares the annotated regions of an image with the predicted ones, pixel by pixel. A list of the pairs of \
         classes that share pixels, LIST<STRUCT<truth_index, predicted_index, pixels>>, where null is the background; \
         each class also has an item beside the background, and so has the background itself, even of no pixel. \
         A class has one region on each side, and regions of two classes must not share pixels, except where they \
         are ignored.",
        "pixel_confusion(truth_index, predicted_index, mask)",
    )
    .with_argument("truth_index", "INT: the class of an annotated region; null for other rows.")
    .with_argument("predicted_index", "INT: the class of a predicted region; null for other rows.")
    .with_argument("mask", "The region; in a row of neither class, pixels that are ignored. All of a group are of one size.")
    .build();
    Aggregate::of_rows::<Confusion>(result, documentation).into()
}

fn result(given: &[DataType]) -> Option<DataType> {
    let [classes @ .., mask] = given else {
        return None;
    };
    // A column of nulls has no type.
    let is_index = |kind: &DataType| kind.is_integer() || *kind == DataType::Null;
    mask_of(std::slice::from_ref(mask))
        .filter(|_| classes.len() == 2 && classes.iter().all(is_index))
        .map(|_| DataType::List(list_item(DataType::Struct(fields()))))
}

fn fields() -> Fields {
    Fields::from(vec![
        Field::new("truth_index", DataType::Int32, true),
        Field::new("predicted_index", DataType::Int32, true),
        Field::new("pixels", DataType::Int64, true),
    ])
}

#[derive(Debug)]
struct Confusion;

impl OfRows for Confusion {
    const NAME: &'static str = "pixel_confusion";
    const FOLDS: bool = false;

    fn fields() -> Fields {
        Fields::from(vec![
            Field::new("truth_index", DataType::Int32, true),
            Field::new("predicted_index", DataType::Int32, true),
            Field::new("mask", rle_type(), true),
        ])
    }

    fn kept(given: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let [truth, predicted, mask] = given else {
            return Err(missing_columns());
        };
        // An index that does not fit must not become a null, which says something else.
        let strictly = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        let index = |column| cast_with_options(column, &DataType::Int32, &strictly);
        Ok(vec![
            index(truth)?,
            index(predicted)?,
            Arc::new(RleColumn::new(mask)?.into_array()),
        ])
    }

    fn values(groups: &Groups) -> Result<ArrayRef> {
        let [truth, predicted, masks] = groups.columns()?;
        let masks = RleColumn::new(masks)?;
        let (truth, predicted) = (truth.as_primitive(), predicted.as_primitive());
        let mut lengths = Vec::with_capacity(groups.iter().len());
        let (mut truths, mut predictions) = (Int32Builder::new(), Int32Builder::new());
        let mut pixels = Int64Builder::new();
        for rows in groups.iter() {
            let pairs = pairs(truth, predicted, &masks, rows)?;
            lengths.push(pairs.len());
            for pair in pairs {
                truths.append_option(pair.truth);
                predictions.append_option(pair.predicted);
                pixels.append_option(i64::try_from(pair.pixels).ok());
            }
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(truths.finish()),
            Arc::new(predictions.finish()),
            Arc::new(pixels.finish()),
        ];
        list_of(fields(), columns, OffsetBuffer::from_lengths(lengths), None)
    }
}

/// The pairs of classes of some rows.
fn pairs(
    truth: &Int32Array,
    predicted: &Int32Array,
    masks: &RleColumn,
    rows: Range<usize>,
) -> Result<Vec<ConfusedPixels<i32>>> {
    let mut annotated: Vec<(i32, Rle)> = Vec::new();
    let (mut found, mut ignored) = (Vec::new(), Vec::new());
    let (first, mut size) = (rows.start, None);
    for row in rows {
        let Some(mask) = masks.get(row)? else {
            continue;
        };
        size.get_or_insert(mask.size());
        let of = |column: &Int32Array| column.is_valid(row).then(|| column.value(row));
        match (of(truth), of(predicted)) {
            (Some(class), None) => annotated.push((class, mask)),
            (None, Some(class)) => found.push((class, mask)),
            (None, None) => ignored.push(mask),
            (Some(_), Some(_)) => {
                return Err(DataFusionError::Execution(format!(
                    "row {row}: a region is annotated or predicted, not both; one of both indices must be null"
                )));
            }
        }
    }
    match size {
        None => Ok(Vec::new()),
        Some(size) => {
            confusion(size, &annotated, &found, &ignored).map_err(|err| error_in_row(first, &err))
        }
    }
}
