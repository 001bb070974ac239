//! Argument types and errors that functions over masks and embeddings share. The errors name rows.

use arrow::datatypes::DataType;
use datafusion::error::DataFusionError;

use crate::error::ColumnError;
use crate::store::columns::{is_rle, rle_type};

/// The type of a mask, if the only argument is a mask or a column of nulls; otherwise `None`.
pub(super) fn mask_of(given: &[DataType]) -> Option<DataType> {
    match given {
        [mask] if is_rle(mask) || mask == &DataType::Null => Some(rle_type()),
        _ => None,
    }
}

/// An execution error that names the row of its batch, with all causes of `err`.
pub(super) fn error_in_row(row: usize, err: &dyn std::error::Error) -> DataFusionError {
    DataFusionError::Execution(format!("row {row}: {}", with_causes(err)))
}

impl From<ColumnError> for DataFusionError {
    fn from(err: ColumnError) -> Self {
        match err {
            ColumnError::Mask { row, source } => error_in_row(row, source.as_ref()),
            other => Self::Execution(with_causes(&other)),
        }
    }
}

fn with_causes(err: &dyn std::error::Error) -> String {
    let mut reason = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        reason = format!("{reason}: {err}");
        cause = err.source();
    }
    reason
}

/// The error of a call with fewer columns than were declared, which DataFusion does not make.
pub(super) fn missing_columns() -> DataFusionError {
    DataFusionError::Internal("columns are missing".to_owned())
}

/// Puts the function's name before the reason of an execution error.
pub(super) fn named(function: &str, err: DataFusionError) -> DataFusionError {
    match err {
        DataFusionError::Execution(reason) => {
            DataFusionError::Execution(format!("{function}: {reason}"))
        }
        other => other,
    }
}
