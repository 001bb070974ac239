//! Columns of two kinds that Arrow has no type for, each read and built in one place: masks as COCO RLE, and
//! embeddings.
//!
//! Arrow arrays come in, [`Rle`](crate::geometry::Rle) values and slices of numbers go out, and the other way round.
//! What the rows mean is left to the caller.

mod embedding;
mod rle;

use arrow::array::{ArrayRef, FixedSizeListArray, Float64Array};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use thiserror::Error;

pub use embedding::{
    EmbeddingColumn, EmbeddingRow, WideEmbeddings, embeddings_to_array, is_embedding,
};
pub use rle::{RleBuilder, RleColumn, is_rle, rle_type};

use crate::schema::list_item;

/// What is wrong with a column, or with a value in it.
#[derive(Debug, Error)]
pub enum ColumnError {
    /// The column has another type.
    #[error("expected {expected}, found {found}")]
    Type {
        /// What the column should hold.
        expected: &'static str,
        /// Its type.
        found: DataType,
    },
    /// A part of a mask does not fit its type.
    #[error("{part} of a mask")]
    Part {
        /// 'height', 'width' or 'counts'.
        part: &'static str,
        /// What Arrow says.
        source: ArrowError,
    },
    /// A mask has a negative side.
    #[error("row {row}: mask of {height} x {width} pixels")]
    Sides {
        /// Row of the batch.
        row: usize,
        /// Pixels.
        height: i32,
        /// Pixels.
        width: i32,
    },
    /// The run lengths of a mask cannot be read.
    #[error("row {row}: a mask that cannot be read")]
    Mask {
        /// Row of the batch.
        row: usize,
        /// What is wrong with them.
        source: Box<crate::Error>,
    },
    /// An embedding has another length than the column.
    #[error("row {row}: embedding of {found} numbers, expected {expected}")]
    Length {
        /// Row of the batch.
        row: usize,
        /// Its numbers.
        found: usize,
        /// Those of the column.
        expected: usize,
    },
    /// An embedding holds a number that the column cannot hold.
    #[error(
        "row {row}: embedding[{at}] is {value}, which the store cannot hold as a finite number"
    )]
    NotFinite {
        /// Row of the batch.
        row: usize,
        /// Position in the embedding.
        at: usize,
        /// The number.
        value: f32,
    },
    /// Arrow refuses the parts of an array.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
}

/// A column of fixed-size lists of doubles: boxes (4) and points (2).
///
/// # Errors
/// What Arrow says.
pub fn doubles_to_array<const N: usize>(
    values: impl Iterator<Item = Option<[f64; N]>>,
) -> Result<ArrayRef, ColumnError> {
    let mut flat = Vec::new();
    let mut valid = Vec::new();
    for value in values {
        valid.push(value.is_some());
        flat.extend(value.unwrap_or([0.0; N]));
    }
    let values = Float64Array::new(ScalarBuffer::from(flat), None);
    fixed_size_list(std::sync::Arc::new(values), N, valid)
}

/// Values as lists of `size` each, null where `valid` says so.
fn fixed_size_list(
    values: ArrayRef,
    size: usize,
    valid: Vec<bool>,
) -> Result<ArrayRef, ColumnError> {
    let item = list_item(values.data_type().clone());
    let size = i32::try_from(size)
        .map_err(|_| ArrowError::InvalidArgumentError(format!("lists of {size} numbers")))?;
    let nulls = valid.contains(&false).then(|| NullBuffer::from(valid));
    let list = FixedSizeListArray::try_new(item, size, values, nulls)?;
    Ok(std::sync::Arc::new(list))
}
