//! `semantic_map(mask, class_index, score, ordinal)`: aggregate; paints masks over each other, so that each pixel gets
//! the class of its best-scoring mask.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, ListArray, RecordBatch, StructArray, new_null_array,
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
use crate::geometry::{Rle, paint};
use crate::schema::list_item;
use crate::store::columns::{RleBuilder, RleColumn, rle_type};

type Result<T, E = DataFusionError> = std::result::Result<T, E>;

const NAME: &str = "semantic_map";

pub(super) fn function() -> AggregateUDF {
    let documentation = Documentation::builder(
        DocSection::default(),
        "Paints the masks of an image over each other: each pixel gets the class of its best-scoring mask, of equal \
         scores the one of the least ordinal. A list with a mask per class that is seen, LIST<STRUCT<class_index \
         INT, rle>>.",
        "semantic_map(mask, class_index, score, ordinal)",
    )
    .with_argument("mask", "A mask; all of a group are of one size.")
    .with_argument("class_index", "INT: its class.")
    .with_argument("score", "DOUBLE: its score.")
    .with_argument("ordinal", "BIGINT: settles equal scores; mask_index will do.")
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
    let [mask, class, score, ordinal] = given else {
        return None;
    };
    let numbers_fit = class.is_integer() && score.is_numeric() && ordinal.is_integer();
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
    fn add(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let schema = Arc::new(kept_schema());
        let columns = columns.iter().zip(schema.fields());
        let columns = columns
            .map(|(column, field)| match column.data_type() {
                DataType::Null => Ok(new_null_array(field.data_type(), column.len())),
                _ => Ok(cast(column, field.data_type())?),
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
        let [rle, class, score, ordinal] = whole.columns() else {
            return Err(DataFusionError::Internal("columns are missing".to_owned()));
        };
        let masks = RleColumn::new(rle)?;
        let class = class.as_primitive::<Int32Type>();
        let (score, ordinal) = (
            score.as_primitive::<Float64Type>(),
            ordinal.as_primitive::<Int64Type>(),
        );
        let mut best: Vec<(usize, Rle)> = Vec::new();
        for row in 0..whole.num_rows() {
            let has_class = class.is_valid(row) && score.is_valid(row);
            if let Some(mask) = masks.get(row)?.filter(|_| has_class) {
                best.push((row, mask));
            }
        }
        best.sort_by(|(a, _), (b, _)| {
            let by_score = score.value(*b).total_cmp(&score.value(*a));
            by_score.then(ordinal.value(*a).cmp(&ordinal.value(*b)))
        });
        let (mut classes, mut rles) = (Vec::new(), RleBuilder::with_capacity(4));
        if let Some((first, mask)) = best.first() {
            let masks = best.iter().map(|(row, mask)| (class.value(*row), mask));
            let painted = paint(mask.size(), masks).map_err(|err| error_in_row(*first, &err))?;
            for (class, mask) in &painted {
                classes.push(*class);
                rles.append(Some(mask));
            }
        }
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int32Array::from(classes)), Arc::new(rles.finish())];
        let classes = StructArray::try_new(class_fields(), columns, None)?;
        let offsets = OffsetBuffer::from_lengths([classes.len()]);
        let list = ListArray::try_new(class_item(), offsets, Arc::new(classes), None)?;
        Ok(ScalarValue::List(Arc::new(list)))
    }
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
