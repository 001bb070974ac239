//! `semantic_map(mask, class_index, score, ordinal[, tau])`: aggregate; paints masks over each other, so that each pixel
//! gets the class of its best-scoring mask; or, with `tau`, lets all masks over a pixel vote.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{AggregateUDF, DocSection, Documentation};

use super::aggregate::Aggregate;
use super::arguments::{error_in_row, mask_of};
use super::kept_rows::{Groups, OfRows, list_of};
use crate::geometry::{Rle, Vote, paint, vote};
use crate::schema::list_item;
use crate::store::columns::{RleBuilder, RleColumn, rle_type};

type Result<T, E = DataFusionError> = std::result::Result<T, E>;

pub(super) fn function() -> AggregateUDF {
    let documentation = Documentation::builder(
        DocSection::default(),
        "Paints the masks of an image over each other: each pixel gets the class of its best-scoring mask, of equal \
         scores the one of the least ordinal. With tau, all masks vote instead: each pixel gets the class with the \
         greatest sum of scores divided by the number of masks over the pixel, if this is at least tau; a mask whose \
         class_index is null votes for none. A list with a mask per class that is seen, LIST<STRUCT<class_index INT, \
         rle>>.",
        "semantic_map(mask, class_index, score, ordinal[, tau])",
    )
    .with_argument("mask", "A mask; all of a group are of one size.")
    .with_argument("class_index", "INT: its class.")
    .with_argument("score", "DOUBLE: its score.")
    .with_argument("ordinal", "BIGINT: settles equal scores; mask_index will do.")
    .with_argument("tau", "DOUBLE: the minimum mean score, the same in all rows of a group; null to paint.")
    .build();
    Aggregate::of_rows::<Map>(result, documentation).into()
}

fn result(given: &[DataType]) -> Option<DataType> {
    let [mask, class, score, ordinal, tau @ ..] = given else {
        return None;
    };
    let tau_fits = match tau {
        [] => true,
        [tau] => tau.is_numeric() || *tau == DataType::Null,
        _ => false,
    };
    let numbers_fit = class.is_integer() && score.is_numeric() && ordinal.is_integer() && tau_fits;
    mask_of(std::slice::from_ref(mask))
        .filter(|_| numbers_fit)
        .map(|_| DataType::List(list_item(DataType::Struct(class_fields()))))
}

fn class_fields() -> Fields {
    Fields::from(vec![
        Field::new("class_index", DataType::Int32, true),
        Field::new("rle", rle_type(), true),
    ])
}

/// The map of each group's masks.
#[derive(Debug)]
struct Map;

impl OfRows for Map {
    const NAME: &'static str = "semantic_map";
    const FOLDS: bool = false;

    fn fields() -> Fields {
        Fields::from(vec![
            Field::new("rle", rle_type(), true),
            Field::new("class_index", DataType::Int32, true),
            Field::new("score", DataType::Float64, true),
            Field::new("ordinal", DataType::Int64, true),
            Field::new("tau", DataType::Float64, true),
        ])
    }

    fn kept(given: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let rows = given.first().map_or(0, |column| column.len());
        let fields = Self::fields();
        let columns = fields.iter().enumerate().map(|(at, field)| {
            let Some(column) = given.get(at) else {
                return Ok(new_null_array(field.data_type(), rows));
            };
            if at == 0 {
                return Ok(Arc::new(RleColumn::new(column)?.into_array()) as ArrayRef);
            }
            Ok(cast(column, field.data_type())?)
        });
        columns.collect()
    }

    fn values(groups: &Groups) -> Result<ArrayRef> {
        let [masks, class, score, ordinal, tau] = groups.columns()?;
        let given = Given {
            masks: RleColumn::new(masks)?,
            class: class.as_primitive(),
            score: score.as_primitive(),
            ordinal: ordinal.as_primitive(),
            tau: tau.as_primitive(),
        };
        let (mut classes, mut rles) = (Vec::new(), RleBuilder::with_capacity(groups.iter().len()));
        let mut lengths = Vec::with_capacity(groups.iter().len());
        for rows in groups.iter() {
            let map = given.map(rows)?;
            lengths.push(map.len());
            for (class, mask) in &map {
                classes.push(*class);
                rles.append(Some(mask));
            }
        }
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int32Array::from(classes)), Arc::new(rles.finish())];
        let offsets = OffsetBuffer::from_lengths(lengths);
        list_of(class_fields(), columns, offsets, None)
    }
}

/// Masks with all that decides who gets a pixel.
struct Given<'a> {
    masks: RleColumn,
    class: &'a Int32Array,
    score: &'a Float64Array,
    ordinal: &'a Int64Array,
    tau: &'a Float64Array,
}

impl Given<'_> {
    /// The map of some rows.
    fn map(&self, rows: Range<usize>) -> Result<BTreeMap<i32, Rle>> {
        let Self {
            class,
            score,
            ordinal,
            ..
        } = self;
        let tau = self.tau_of(rows.clone())?;
        let mut found: Vec<(usize, Rle)> = Vec::new();
        for row in rows {
            let counts = score.is_valid(row) && (class.is_valid(row) || tau.is_some());
            if let Some(mask) = self.masks.get(row)?.filter(|_| counts) {
                found.push((row, mask));
            }
        }
        let Some((first, size)) = found.first().map(|(row, mask)| (*row, mask.size())) else {
            return Ok(BTreeMap::new());
        };
        let map = match tau {
            Some(tau) => {
                let votes = found.iter().map(|(row, mask)| Vote {
                    class: class.is_valid(*row).then(|| class.value(*row)),
                    score: score.value(*row),
                    mask,
                });
                vote(size, &votes.collect::<Vec<_>>(), tau)
            }
            None => {
                found.sort_by(|(a, _), (b, _)| {
                    let by_score = score.value(*b).total_cmp(&score.value(*a));
                    by_score.then(ordinal.value(*a).cmp(&ordinal.value(*b)))
                });
                paint(
                    size,
                    found.iter().map(|(row, mask)| (class.value(*row), mask)),
                )
            }
        };
        map.map_err(|err| error_in_row(first, &err))
    }

    /// The `tau` that some rows have.
    fn tau_of(&self, rows: Range<usize>) -> Result<Option<f64>> {
        let tau = |row| self.tau.is_valid(row).then(|| self.tau.value(row));
        let first = rows.clone().next().and_then(tau);
        match rows.map(tau).find(|value| *value != first) {
            None => Ok(first),
            Some(other) => {
                let show =
                    |value: Option<f64>| value.map_or("null".to_owned(), |it| it.to_string());
                Err(DataFusionError::Execution(format!(
                    "tau is {} and {} in one group",
                    show(first),
                    show(other)
                )))
            }
        }
    }
}
