//! The columns of a training query.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, ListArray, RecordBatch, StringArray,
    UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, UInt64Type};

use crate::error::HeadError;
use crate::schema::list_item;
use crate::{Error, Result};

/// The error for a column that is not there.
pub(super) fn missing(column: &str) -> Error {
    Error::Head(HeadError::TrainingQuery {
        reason: format!(
            "it yields no column '{column}'; it must yield image_id, extractor_id, mask_index, label or labels, and a column \
             for each input: embedding for the tokens, shape, the names of embedders; as the query train/bags does"
        ),
    })
}

/// The error for a column of another type.
pub(super) fn wrong(column: &str, expected: &str, found: &ArrayRef) -> Error {
    Error::Head(HeadError::TrainingQuery {
        reason: format!(
            "column '{column}': expected {expected}, found {}{}",
            found.data_type(),
            match found.null_count() {
                0 => "",
                _ => " with nulls",
            }
        ),
    })
}

/// A column of texts.
pub(super) fn text(batch: &RecordBatch, name: &str) -> Result<StringArray> {
    let column = batch.column_by_name(name).ok_or_else(|| missing(name))?;
    let found = cast(column, &DataType::Utf8).ok();
    let found = found.filter(|text| text.null_count() == 0);
    let text = found.as_ref().and_then(|text| text.as_string_opt::<i32>());
    text.cloned()
        .ok_or_else(|| wrong(name, "TEXT without nulls", column))
}

/// A column of whole numbers.
pub(super) fn integers(batch: &RecordBatch, name: &str) -> Result<Int32Array> {
    let column = batch.column_by_name(name).ok_or_else(|| missing(name))?;
    let found = if column.data_type().is_integer() {
        cast(column, &DataType::Int32).ok()
    } else {
        None
    };
    let found = found.filter(|numbers| numbers.null_count() == 0);
    let numbers = found
        .as_ref()
        .and_then(|n| n.as_primitive_opt::<Int32Type>());
    numbers
        .cloned()
        .ok_or_else(|| wrong(name, "INT without nulls", column))
}

/// The column of the ids of the rows that hold an input's numbers, the `at`-th input.
pub(super) fn id_column(at: usize) -> String {
    format!("row_id_{at}")
}

/// A column of row ids, which may be null.
pub(super) fn row_ids(batch: &RecordBatch, name: &str) -> Result<UInt64Array> {
    let column = batch.column_by_name(name).ok_or_else(|| missing(name))?;
    let ids = column.as_primitive_opt::<UInt64Type>();
    ids.cloned()
        .ok_or_else(|| wrong(name, "BIGINT UNSIGNED", column))
}

/// A column of truth values, if there is one of that name.
pub(super) fn booleans(batch: &RecordBatch, name: &str) -> Result<Option<BooleanArray>> {
    let Some(column) = batch.column_by_name(name) else {
        return Ok(None);
    };
    match column.as_boolean_opt() {
        Some(found) => Ok(Some(found.clone())),
        None => Err(wrong(name, "BOOLEAN", column)),
    }
}

/// A column of texts or of lists of texts, as lists.
pub(super) fn texts(batch: &RecordBatch, name: &str) -> Result<Option<ListArray>> {
    let Some(column) = batch.column_by_name(name) else {
        return Ok(None);
    };
    let list = cast(column, &DataType::List(list_item(DataType::Utf8))).ok();
    let list = list.as_ref().and_then(|list| list.as_list_opt::<i32>());
    match list {
        Some(list) => Ok(Some(list.clone())),
        None => Err(wrong(name, "TEXT[]", column)),
    }
}
