//! `embedding_mean(embedding)`: aggregate; the element-wise mean of a group's embeddings.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Float64Array, ListArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Accumulator, AggregateUDF, DocSection, Documentation};

use super::aggregate::Aggregate;
use super::arguments::named;
use crate::schema::list_item;
use crate::store::columns::{EmbeddingColumn, is_embedding};

type Result<T, E = DataFusionError> = std::result::Result<T, E>;

const NAME: &str = "embedding_mean";

pub(super) fn function() -> AggregateUDF {
    let documentation = Documentation::builder(
        DocSection::default(),
        "The mean of a group's embeddings, number by number, in 32 bits; null for a group without any.",
        "embedding_mean(embedding)",
    )
    .with_argument("embedding", "masks.embedding.")
    .build();
    Aggregate {
        name: NAME,
        result,
        accumulator: |result| Box::new(Mean::new(result)),
        groups: None,
        state: |_| {
            let sums = DataType::List(list_item(DataType::Float64));
            vec![
                Arc::new(Field::new("sums", sums, true)),
                Arc::new(Field::new("count", DataType::Int64, true)),
            ]
        },
        documentation,
    }
    .into()
}

fn result(given: &[DataType]) -> Option<DataType> {
    match given {
        [embedding @ DataType::FixedSizeList(_, dim)] if is_embedding(embedding) => {
            Some(DataType::FixedSizeList(list_item(DataType::Float32), *dim))
        }
        _ => None,
    }
}

#[derive(Debug)]
struct Mean {
    sums: Vec<f64>,
    count: i64,
}

impl Mean {
    fn new(result: &DataType) -> Self {
        let dim = match result {
            DataType::FixedSizeList(_, dim) => usize::try_from(*dim).unwrap_or(0),
            _ => 0,
        };
        Self {
            sums: vec![0.0; dim],
            count: 0,
        }
    }
}

impl Accumulator for Mean {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else {
            return Ok(());
        };
        let column = EmbeddingColumn::new(values).map_err(|err| named(NAME, err.into()))?;
        let column = column.widen();
        for embedding in (0..values.len()).filter_map(|row| column.get(row)) {
            for (sum, number) in self.sums.iter_mut().zip(embedding) {
                *sum += f64::from(*number);
            }
            self.count += 1;
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [sums, counts] = states else {
            return Ok(());
        };
        let counts = counts.as_primitive::<Int64Type>();
        for (row, other) in sums.as_list::<i32>().iter().enumerate() {
            let Some(other) = other else {
                continue;
            };
            let other = other.as_primitive::<Float64Type>();
            for (sum, number) in self.sums.iter_mut().zip(other.values()) {
                *sum += number;
            }
            self.count += counts.value(row);
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sums = Arc::new(Float64Array::from(self.sums.clone()));
        let offsets = OffsetBuffer::from_lengths([self.sums.len()]);
        let list = ListArray::try_new(list_item(DataType::Float64), offsets, sums, None)?;
        Ok(vec![
            ScalarValue::List(Arc::new(list)),
            ScalarValue::Int64(Some(self.count)),
        ])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let dim = i32::try_from(self.sums.len()).unwrap_or(0);
        let item = list_item(DataType::Float32);
        if self.count == 0 {
            let none = FixedSizeListArray::new_null(item, dim, 1);
            return Ok(ScalarValue::FixedSizeList(Arc::new(none)));
        }
        let means = self.sums.iter().map(|sum| (sum / self.count as f64) as f32);
        let means = Arc::new(Float32Array::from_iter_values(means));
        let list = FixedSizeListArray::try_new(item, dim, means, None)?;
        Ok(ScalarValue::FixedSizeList(Arc::new(list)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.sums.len() * size_of::<f64>()
    }
}
