//! Columns of embeddings: fixed-size lists of 16-bit or 32-bit floats, as 32-bit numbers.

use arrow::array::{Array, ArrayRef, AsArray, Float32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type};
use datafusion::error::DataFusionError;

type Result<T> = std::result::Result<T, DataFusionError>;

/// Whether a type is that of an embedding.
pub(super) fn is_embedding(data_type: &DataType) -> bool {
    matches!(data_type, DataType::FixedSizeList(item, _)
        if matches!(item.data_type(), DataType::Float16 | DataType::Float32 | DataType::Float64))
}

/// A column of embeddings.
pub(super) struct EmbeddingColumn {
    values: Float32Array,
    dim: usize,
    nulls: Option<NullBuffer>,
}

impl EmbeddingColumn {
    pub fn new(array: &ArrayRef) -> Result<Self> {
        let list = array.as_fixed_size_list_opt().ok_or_else(|| {
            DataFusionError::Execution(format!(
                "expected an embedding, found {}",
                array.data_type()
            ))
        })?;
        let dim = usize::try_from(list.value_length()).unwrap_or(0);
        let first = list.value_offset(0);
        let first = usize::try_from(first).unwrap_or(0);
        let values = match list.is_empty() {
            true => list.values().slice(0, 0),
            false => list.values().slice(first, list.len() * dim),
        };
        let values = cast(&values, &DataType::Float32)?;
        Ok(Self {
            values: values.as_primitive::<Float32Type>().clone(),
            dim,
            nulls: list.nulls().cloned(),
        })
    }

    /// Numbers of an embedding.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The embedding of a row; none if it is null.
    pub fn get(&self, row: usize) -> Option<&[f32]> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return None;
        }
        self.values
            .values()
            .get(row * self.dim..(row + 1) * self.dim)
    }
}
