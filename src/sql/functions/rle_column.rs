//! Columns of masks: Arrow structs on one side, [`Rle`] values on the other.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int32Builder, StringArray, StringBuilder, StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Fields, Int32Type};
use datafusion::error::DataFusionError;

use crate::geometry::{Rle, Size};
use crate::store::rows::RleRow;

type Result<T> = std::result::Result<T, DataFusionError>;

/// The type of a mask column.
pub(super) fn rle_type() -> DataType {
    DataType::Struct(rle_fields())
}

fn rle_fields() -> Fields {
    Fields::from(vec![
        Field::new("height", DataType::Int32, true),
        Field::new("width", DataType::Int32, true),
        Field::new("counts", DataType::Utf8, true),
    ])
}

/// The type of a mask, where the only argument is one or nothing but nulls.
pub(super) fn mask_of(given: &[DataType]) -> Option<DataType> {
    match given {
        [mask] if is_rle(mask) || mask == &DataType::Null => Some(rle_type()),
        _ => None,
    }
}

/// Whether a type has the parts of a mask.
pub(super) fn is_rle(data_type: &DataType) -> bool {
    let DataType::Struct(fields) = data_type else {
        return false;
    };
    let is_text =
        |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let part = |name: &str| fields.find(name).map(|(_, field)| field.data_type());
    part("height").is_some_and(DataType::is_integer)
        && part("width").is_some_and(DataType::is_integer)
        && part("counts").is_some_and(is_text)
}

/// A column of masks, parsed row by row.
pub(super) struct RleColumn {
    heights: Int32Array,
    widths: Int32Array,
    counts: StringArray,
    nulls: Option<NullBuffer>,
}

impl RleColumn {
    /// Takes a struct column apart; a column of nothing but nulls will do too.
    pub fn new(array: &ArrayRef) -> Result<Self> {
        if array.data_type() == &DataType::Null {
            let empty = Arc::new(StructArray::new_null(rle_fields(), array.len()));
            return Self::new(&(empty as ArrayRef));
        }
        let masks = array.as_struct_opt().filter(|_| is_rle(array.data_type()));
        let masks = masks.ok_or_else(|| {
            DataFusionError::Execution(format!("expected a mask, found {}", array.data_type()))
        })?;
        // An unsafe cast in Arrow's sense: a height above 2^31 is an error, not a null.
        let options = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        let part = |name: &str, data_type: &DataType| {
            let column = masks
                .column_by_name(name)
                .map(|column| cast_with_options(column, data_type, &options));
            column
                .unwrap_or_else(|| Ok(arrow::array::new_null_array(data_type, masks.len())))
                .map_err(|err| DataFusionError::Execution(format!("{name} of a mask: {err}")))
        };
        Ok(Self {
            heights: part("height", &DataType::Int32)?
                .as_primitive::<Int32Type>()
                .clone(),
            widths: part("width", &DataType::Int32)?
                .as_primitive::<Int32Type>()
                .clone(),
            counts: part("counts", &DataType::Utf8)?.as_string().clone(),
            nulls: masks.logical_nulls(),
        })
    }

    /// The mask of a row; `None` where it or a part of it is null.
    pub fn get(&self, row: usize) -> Result<Option<Rle>> {
        let null = self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
            || self.heights.is_null(row)
            || self.widths.is_null(row)
            || self.counts.is_null(row);
        if null {
            return Ok(None);
        }
        let (height, width) = (self.heights.value(row), self.widths.value(row));
        let (Ok(height), Ok(width)) = (u32::try_from(height), u32::try_from(width)) else {
            return Err(in_row(row, &format!("mask of {height} x {width} pixels")));
        };
        let mask = Rle::from_counts_str(Size { height, width }, self.counts.value(row));
        mask.map(Some).map_err(|err| error_in_row(row, &err))
    }
}

/// An execution error that names the row of its batch.
pub(super) fn in_row(row: usize, err: &impl std::fmt::Display) -> DataFusionError {
    DataFusionError::Execution(format!("row {row}: {err}"))
}

/// As [`in_row`], for an error with causes: they are told too.
pub(super) fn error_in_row(row: usize, err: &dyn std::error::Error) -> DataFusionError {
    let mut reason = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        reason = format!("{reason}: {err}");
        cause = err.source();
    }
    in_row(row, &reason)
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

/// Builds a column of masks.
pub(super) struct RleBuilder {
    heights: Int32Builder,
    widths: Int32Builder,
    counts: StringBuilder,
    valid: Vec<bool>,
}

impl RleBuilder {
    pub fn with_capacity(rows: usize) -> Self {
        Self {
            heights: Int32Builder::with_capacity(rows),
            widths: Int32Builder::with_capacity(rows),
            counts: StringBuilder::with_capacity(rows, rows * 64),
            valid: Vec::with_capacity(rows),
        }
    }

    pub fn append(&mut self, mask: Option<&Rle>) {
        let row = mask.map(RleRow::from);
        self.valid.push(row.is_some());
        self.heights
            .append_option(row.as_ref().map(|row| row.height));
        self.widths.append_option(row.as_ref().map(|row| row.width));
        self.counts
            .append_option(row.as_ref().map(|row| &row.counts));
    }

    pub fn finish(mut self) -> StructArray {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.heights.finish()),
            Arc::new(self.widths.finish()),
            Arc::new(self.counts.finish()),
        ];
        StructArray::new(rle_fields(), columns, Some(NullBuffer::from(self.valid)))
    }
}
