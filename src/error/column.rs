//! Errors of columns of masks or embeddings.

use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use thiserror::Error;

/// What is wrong with a column, or with a value in it.
#[derive(Debug, Error)]
pub enum ColumnError {
    /// The column has another type.
    #[error("expected {expected}, found {found}")]
    Type {
        /// What the column should hold.
        expected: &'static str,
        /// The column's type.
        found: DataType,
    },
    /// A part of a mask does not fit its type.
    #[error("{part} of a mask")]
    Part {
        /// 'height', 'width' or 'counts'.
        part: &'static str,
        /// Arrow's error.
        source: ArrowError,
    },
    /// A mask has a negative side.
    #[error("row {row}: mask of {height} x {width} pixels")]
    Sides {
        /// Row of the batch.
        row: usize,
        /// Height in pixels.
        height: i32,
        /// Width in pixels.
        width: i32,
    },
    /// The run lengths of a mask cannot be read.
    #[error("row {row}: a mask that cannot be read")]
    Mask {
        /// Row of the batch.
        row: usize,
        /// What is wrong with the run lengths.
        source: Box<super::Error>,
    },
    /// An embedding has a different length from the column's.
    #[error("row {row}: embedding of {found} numbers, expected {expected}")]
    Length {
        /// Row of the batch.
        row: usize,
        /// Numbers in the embedding.
        found: usize,
        /// Numbers in an embedding of the column.
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
    /// Arrow cannot make an array of its parts.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
}
