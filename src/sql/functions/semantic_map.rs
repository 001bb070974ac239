//! `semantic_map(mask, class_index, score, ordinal[, tau])`: aggregate; paints masks over each other, so that each pixel
//! gets the class of its best-scoring mask; or, with `tau`, lets all masks over a pixel vote.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, ListArray, RecordBatch, StructArray,
    new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{
    DataType, Field, FieldRef, Fields, Float64Type, Int32Type, Int64Type, Schema,
};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Accumulator, AggregateUDF, DocSection, Documentation};

use super::aggregate::Aggregate;
use super::arguments::{error_in_row, mask_of, named};
use crate::geometry::{Rle, Vote, paint, vote};
use crate::schema::list_item;
use crate::store::columns::{RleBuilder, RleColumn, rle_type};

type Result<T, E = DataFusionError> = std::result::Result<T, E>;

const NAME: &str = "semantic_map";

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
    Aggregate {
        name: NAME,
        result,
        accumulator: |_| Box::new(Masks::default()),
        state: |_| {
            let masks = DataType::List(kept_item());
            vec![Arc::new(Field::new("masks", masks, true))]
        },
        documentation,
    }
    .into()
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
        .map(|_| DataType::List(class_item()))
}

fn class_fields() -> Fields {
    Fields::from(vec![
        Field::new("class_index", DataType::Int32, true),
        Field::new("rle", rle_type(), true),
    ])
}

fn class_item() -> FieldRef {
    list_item(DataType::Struct(class_fields()))
}

/// The columns that the accumulator keeps for each mask.
fn kept_schema() -> Schema {
    Schema::new(vec![
        Field::new("rle", rle_type(), true),
        Field::new("class_index", DataType::Int32, true),
        Field::new("score", DataType::Float64, true),
        Field::new("ordinal", DataType::Int64, true),
        Field::new("tau", DataType::Float64, true),
    ])
}

fn kept_item() -> FieldRef {
    let fields = kept_schema().fields().clone();
    list_item(DataType::Struct(fields))
}

/// The masks of a group, in the order in which they came.
#[derive(Debug, Default)]
struct Masks {
    batches: Vec<RecordBatch>,
}

impl Masks {
    fn add(&mut self, given: &[ArrayRef]) -> Result<()> {
        let schema = Arc::new(kept_schema());
        let rows = given.first().map_or(0, |column| column.len());
        let columns = schema.fields().iter().enumerate();
        let columns = columns
            .map(|(at, field)| match given.get(at) {
                Some(column) if *column.data_type() != DataType::Null => {
                    Ok(cast(column, field.data_type())?)
                }
                _ => Ok(new_null_array(field.data_type(), rows)),
            })
            .collect::<Result<Vec<_>>>()?;
        self.batches.push(RecordBatch::try_new(schema, columns)?);
        Ok(())
    }

    fn whole(&self) -> Result<RecordBatch> {
        Ok(concat_batches(&Arc::new(kept_schema()), &self.batches)?)
    }

    fn map(&self) -> Result<ScalarValue> {
        let whole = self.whole()?;
        let [rle, class, score, ordinal, tau] = whole.columns() else {
            return Err(DataFusionError::Internal("columns are missing".to_owned()));
        };
        let masks = RleColumn::new(rle)?;
        let class = class.as_primitive::<Int32Type>();
        let (score, ordinal) = (
            score.as_primitive::<Float64Type>(),
            ordinal.as_primitive::<Int64Type>(),
        );
        let tau = only(tau.as_primitive::<Float64Type>())?;
        let mut rows: Vec<(usize, Rle)> = Vec::new();
        for row in 0..whole.num_rows() {
            let counts = score.is_valid(row) && (class.is_valid(row) || tau.is_some());
            if let Some(mask) = masks.get(row)?.filter(|_| counts) {
                rows.push((row, mask));
            }
        }
        let Some((first, size)) = rows.first().map(|(row, mask)| (*row, mask.size())) else {
            return list(BTreeMap::new());
        };
        let map = match tau {
            Some(tau) => {
                let votes = rows.iter().map(|(row, mask)| Vote {
                    class: class.is_valid(*row).then(|| class.value(*row)),
                    score: score.value(*row),
                    mask,
                });
                vote(size, &votes.collect::<Vec<_>>(), tau)
            }
            None => {
                rows.sort_by(|(a, _), (b, _)| {
                    let by_score = score.value(*b).total_cmp(&score.value(*a));
                    by_score.then(ordinal.value(*a).cmp(&ordinal.value(*b)))
                });
                paint(
                    size,
                    rows.iter().map(|(row, mask)| (class.value(*row), mask)),
                )
            }
        };
        list(map.map_err(|err| error_in_row(first, &err))?)
    }
}

/// The value that all rows of a group have.
fn only(column: &Float64Array) -> Result<Option<f64>> {
    let mut values = column.iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    match values.find(|value| *value != first) {
        None => Ok(first),
        Some(other) => {
            let show = |value: Option<f64>| value.map_or("null".to_owned(), |it| it.to_string());
            Err(DataFusionError::Execution(format!(
                "tau is {} and {} in one group",
                show(first),
                show(other)
            )))
        }
    }
}

/// The result: a list of classes and their pixels.
fn list(map: BTreeMap<i32, Rle>) -> Result<ScalarValue> {
    let (mut classes, mut rles) = (Vec::new(), RleBuilder::with_capacity(map.len()));
    for (class, mask) in &map {
        classes.push(*class);
        rles.append(Some(mask));
    }
    let columns: Vec<ArrayRef> = vec![Arc::new(Int32Array::from(classes)), Arc::new(rles.finish())];
    let classes = StructArray::try_new(class_fields(), columns, None)?;
    let offsets = OffsetBuffer::from_lengths([classes.len()]);
    let list = ListArray::try_new(class_item(), offsets, Arc::new(classes), None)?;
    Ok(ScalarValue::List(Arc::new(list)))
}

impl Accumulator for Masks {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values).map_err(|err| named(NAME, err))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some(lists) = states.first() else {
            return Ok(());
        };
        for list in lists.as_list::<i32>().iter().flatten() {
            let masks: RecordBatch = list.as_struct().into();
            self.add(masks.columns()).map_err(|err| named(NAME, err))?;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let masks = StructArray::from(self.whole()?);
        let offsets = OffsetBuffer::from_lengths([masks.len()]);
        let list = ListArray::try_new(kept_item(), offsets, Arc::new(masks), None)?;
        Ok(vec![ScalarValue::List(Arc::new(list))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.map().map_err(|err| named(NAME, err))
    }

    fn size(&self) -> usize {
        let batches = self.batches.iter();
        size_of_val(self)
            + batches
                .map(RecordBatch::get_array_memory_size)
                .sum::<usize>()
    }
}
