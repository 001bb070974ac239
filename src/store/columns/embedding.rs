//! Columns of embeddings: fixed-size lists of 16-bit or 32-bit floats.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float16Array, Float32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float16Type, Float32Type};
use half::f16;
use half::slice::HalfFloatSliceExt;

use super::fixed_size_list;
use crate::error::ColumnError;
use crate::schema::{EmbeddingFloat, EmbeddingType};

/// Whether a type is that of an embedding.
pub fn is_embedding(data_type: &DataType) -> bool {
    matches!(data_type, DataType::FixedSizeList(item, _)
        if matches!(item.data_type(), DataType::Float16 | DataType::Float32 | DataType::Float64))
}

/// A column of embeddings, as it is stored.
#[derive(Debug, Clone)]
pub struct EmbeddingColumn {
    numbers: Numbers,
    dim: usize,
    rows: usize,
    nulls: Option<NullBuffer>,
}

/// The numbers of all rows, row after row.
#[derive(Debug, Clone)]
enum Numbers {
    Half(Float16Array),
    Single(Float32Array),
}

/// The numbers of one embedding.
#[derive(Debug, Clone, Copy)]
pub enum EmbeddingRow<'a> {
    /// 16-bit.
    Half(&'a [f16]),
    /// 32-bit.
    Single(&'a [f32]),
}

impl EmbeddingRow<'_> {
    /// Whether all numbers are finite.
    pub fn is_finite(&self) -> bool {
        match self {
            Self::Half(values) => values.iter().all(|x| x.is_finite()),
            Self::Single(values) => values.iter().all(|x| x.is_finite()),
        }
    }
}

impl EmbeddingColumn {
    /// Reads a column of lists; 64-bit numbers become 32-bit ones.
    ///
    /// # Errors
    /// [`ColumnError::Type`] for any other column, and for a column with null numbers.
    pub fn new(array: &ArrayRef) -> Result<Self, ColumnError> {
        let wrong = || ColumnError::Type {
            expected: "an embedding",
            found: array.data_type().clone(),
        };
        let list = array.as_fixed_size_list_opt();
        let list = list.filter(|_| is_embedding(array.data_type()));
        let list = list.ok_or_else(wrong)?;
        let dim = usize::try_from(list.value_length()).map_err(|_| wrong())?;
        // A sliced list keeps either the values of all rows or only those of its own.
        let count = list.len() * dim;
        let values = if list.values().len() == count {
            list.values().clone()
        } else {
            let first = usize::try_from(list.value_offset(0)).map_err(|_| wrong())?;
            list.values().slice(first, count)
        };
        if values.null_count() > 0 && list.null_count() == 0 {
            return Err(wrong());
        }
        let numbers = match values.data_type() {
            DataType::Float16 => Numbers::Half(values.as_primitive::<Float16Type>().clone()),
            DataType::Float32 => Numbers::Single(values.as_primitive::<Float32Type>().clone()),
            _ => {
                let values = cast(&values, &DataType::Float32)?;
                Numbers::Single(values.as_primitive::<Float32Type>().clone())
            }
        };
        Ok(Self {
            numbers,
            dim,
            rows: list.len(),
            nulls: list.nulls().cloned(),
        })
    }

    /// Number of numbers in an embedding.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of rows, including null ones.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Which rows are null; `None` if none is.
    pub fn nulls(&self) -> Option<&NullBuffer> {
        self.nulls.as_ref().filter(|nulls| nulls.null_count() > 0)
    }

    /// The embedding of a row; `None` if it is null or there is no such row.
    pub fn get(&self, row: usize) -> Option<EmbeddingRow<'_>> {
        let is_null = |nulls: &NullBuffer| row >= nulls.len() || nulls.is_null(row);
        if self.nulls.as_ref().is_some_and(is_null) {
            return None;
        }
        let range = row * self.dim..(row + 1) * self.dim;
        match &self.numbers {
            Numbers::Half(all) => all.values().get(range).map(EmbeddingRow::Half),
            Numbers::Single(all) => all.values().get(range).map(EmbeddingRow::Single),
        }
    }

    /// The numbers of some rows in 32 bits, `[rows, dim]` row-major; those of null rows have no meaning. Rows beyond
    /// the end of the column are left out.
    pub fn to_f32(&self, rows: std::ops::Range<usize>) -> Vec<f32> {
        let (first, last) = (rows.start.min(self.rows), rows.end.min(self.rows));
        let range = first * self.dim..last.max(first) * self.dim;
        match &self.numbers {
            Numbers::Half(all) => {
                let halves = all.values().get(range).unwrap_or(&[]);
                let mut values = vec![0.0; halves.len()];
                halves.convert_to_f32_slice(&mut values);
                values
            }
            Numbers::Single(all) => all.values().get(range).unwrap_or(&[]).to_vec(),
        }
    }

    /// The complete column in 32 bits.
    pub fn widen(self) -> WideEmbeddings {
        let values = match self.numbers {
            Numbers::Single(ref all) => all.clone(),
            Numbers::Half(_) => Float32Array::from(self.to_f32(0..self.rows)),
        };
        WideEmbeddings {
            values,
            dim: self.dim,
            nulls: self.nulls,
        }
    }
}

/// A column of embeddings in 32 bits.
#[derive(Debug, Clone)]
pub struct WideEmbeddings {
    values: Float32Array,
    dim: usize,
    nulls: Option<NullBuffer>,
}

impl WideEmbeddings {
    /// Number of numbers in an embedding.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The embedding of a row; `None` if it is null or there is no such row.
    pub fn get(&self, row: usize) -> Option<&[f32]> {
        let is_null = |nulls: &NullBuffer| row >= nulls.len() || nulls.is_null(row);
        if self.nulls.as_ref().is_some_and(is_null) {
            return None;
        }
        let values = self.values.values();
        values.get(row * self.dim..(row + 1) * self.dim)
    }
}

/// Builds a column of embeddings in the type that a store keeps.
///
/// # Errors
/// [`ColumnError::Length`] and [`ColumnError::NotFinite`], which name the row.
pub fn embeddings_to_array<'a>(
    rows: impl Iterator<Item = Option<&'a [f32]>>,
    embedding: EmbeddingType,
) -> Result<ArrayRef, ColumnError> {
    let dim = embedding.dim as usize;
    let mut valid = Vec::new();
    let (mut halves, mut singles) = (Vec::new(), Vec::new());
    for (row, values) in rows.enumerate() {
        valid.push(values.is_some());
        let zeros = || std::iter::repeat_n(0.0, dim);
        let Some(values) = values else {
            match embedding.float {
                EmbeddingFloat::F16 => halves.extend(zeros().map(f16::from_f32)),
                EmbeddingFloat::F32 => singles.extend(zeros()),
            }
            continue;
        };
        if values.len() != dim {
            return Err(ColumnError::Length {
                row,
                found: values.len(),
                expected: dim,
            });
        }
        let start = (halves.len(), singles.len());
        match embedding.float {
            EmbeddingFloat::F16 => halves.extend(values.iter().map(|x| f16::from_f32(*x))),
            EmbeddingFloat::F32 => singles.extend_from_slice(values),
        }
        let lost = match embedding.float {
            EmbeddingFloat::F16 => halves.iter().skip(start.0).position(|x| !x.is_finite()),
            EmbeddingFloat::F32 => singles.iter().skip(start.1).position(|x| !x.is_finite()),
        };
        if let Some((at, value)) = lost.and_then(|at| Some((at, *values.get(at)?))) {
            return Err(ColumnError::NotFinite { row, at, value });
        }
    }
    let values: ArrayRef = match embedding.float {
        EmbeddingFloat::F16 => Arc::new(Float16Array::from(halves)),
        EmbeddingFloat::F32 => Arc::new(Float32Array::from(singles)),
    };
    fixed_size_list(values, dim, valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(float: EmbeddingFloat) -> ArrayRef {
        let rows = [Some(&[0.5f32, 1.0][..]), None, Some(&[2.0, -3.0])];
        embeddings_to_array(rows.into_iter(), EmbeddingType { float, dim: 2 }).unwrap()
    }

    #[test]
    fn columns_come_back_whole_sliced_and_with_nulls() {
        for float in [EmbeddingFloat::F16, EmbeddingFloat::F32] {
            let array = column(float);
            assert!(is_embedding(array.data_type()));
            let read = EmbeddingColumn::new(&array).unwrap();
            assert_eq!((read.dim(), read.rows()), (2, 3));
            assert_eq!(read.nulls().unwrap().null_count(), 1);
            assert!(read.get(0).unwrap().is_finite());
            assert!(read.get(1).is_none() && read.get(3).is_none());
            assert_eq!(read.to_f32(2..9), [2.0, -3.0]);
            let wide = EmbeddingColumn::new(&array.slice(2, 1)).unwrap().widen();
            assert_eq!(wide.get(0).unwrap(), [2.0, -3.0]);
            assert!(
                EmbeddingColumn::new(&array.slice(2, 1))
                    .unwrap()
                    .nulls()
                    .is_none()
            );
        }
    }

    #[test]
    fn what_is_no_embedding_is_refused() {
        let other: ArrayRef = Arc::new(Float32Array::from(vec![1.0]));
        let message = EmbeddingColumn::new(&other).unwrap_err().to_string();
        assert_eq!(message, "expected an embedding, found Float32");
        let f16 = EmbeddingType {
            float: EmbeddingFloat::F16,
            dim: 2,
        };
        for (values, part) in [
            (vec![1.0], "embedding of 1 numbers, expected 2"),
            (vec![0.0, f32::NAN], "embedding[1] is NaN"),
            (vec![70_000.0, 0.0], "embedding[0] is 70000"),
        ] {
            let rows = [None, Some(&values[..])];
            let message = embeddings_to_array(rows.into_iter(), f16).unwrap_err();
            let message = message.to_string();
            assert!(
                message.contains(part) && message.contains("row 1"),
                "{message}"
            );
        }
    }
}
