//! Readers and builders for two kinds of columns that Arrow has no type for: masks as COCO RLE, and embeddings.
//!
//! Arrow arrays come in, and [`Rle`](crate::geometry::Rle) values and slices of numbers go out, or the other way round.
//! What the rows mean is left to the caller.

mod embedding;
mod rle;
mod scanned;

use arrow::array::{ArrayRef, FixedSizeListArray, Float64Array};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::error::ArrowError;

pub use embedding::{
    EmbeddingColumn, EmbeddingRow, WideEmbeddings, embeddings_to_array, is_embedding,
};
pub use rle::{RleBuilder, RleColumn, is_rle, rle_type};
pub(crate) use scanned::{column, flags, numbers, texts};

use crate::error::ColumnError;
use crate::schema::list_item;

/// Builds a column of fixed-size lists of doubles: boxes (4) or points (2).
///
/// # Errors
/// Any error from Arrow.
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

/// Groups values into lists of `size` each; a list is null where `valid` is false.
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
