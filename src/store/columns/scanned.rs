//! Columns of a scan, by name and type.

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray, RecordBatch, StringArray,
};

use crate::{Error, Result};

/// The column of a name.
///
/// # Errors
/// [`Error::Internal`] if there is none of the name.
pub(crate) fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch.column_by_name(name).ok_or(Error::Internal {
        what: "a scan lacks a column",
    })
}

/// A column of text.
///
/// # Errors
/// As for [`column`], and if it is of another type.
pub(crate) fn texts<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    let column = column(batch, name)?.as_string_opt::<i32>();
    column.ok_or(Error::Internal {
        what: "a column of a scan is not text",
    })
}

/// A column of numbers.
///
/// # Errors
/// As for [`texts`].
pub(crate) fn numbers<'a, T: ArrowPrimitiveType>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a PrimitiveArray<T>> {
    let column = column(batch, name)?.as_primitive_opt::<T>();
    column.ok_or(Error::Internal {
        what: "a column of a scan has another type of number",
    })
}

/// A Boolean column.
///
/// # Errors
/// As for [`texts`].
pub(crate) fn flags<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a BooleanArray> {
    let column = column(batch, name)?.as_boolean_opt();
    column.ok_or(Error::Internal {
        what: "a column of a scan is not Boolean",
    })
}
