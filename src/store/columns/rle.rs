//! Columns of masks: structs of height, width and COCO's compressed counts.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int32Builder, StringArray, StringBuilder, StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Fields, Int32Type};

use crate::error::ColumnError;
use crate::geometry::{Rle, Size};
use crate::store::rows::RleRow;

/// The type of a mask column.
pub fn rle_type() -> DataType {
    DataType::Struct(rle_fields())
}

fn rle_fields() -> Fields {
    Fields::from(vec![
        Field::new("height", DataType::Int32, true),
        Field::new("width", DataType::Int32, true),
        Field::new("counts", DataType::Utf8, true),
    ])
}

/// Whether a type has the parts of a mask.
pub fn is_rle(data_type: &DataType) -> bool {
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
#[derive(Debug, Clone)]
pub struct RleColumn {
    heights: Int32Array,
    widths: Int32Array,
    counts: StringArray,
    nulls: Option<NullBuffer>,
}

impl RleColumn {
    /// Reads a struct column, or a column that holds only nulls.
    ///
    /// # Errors
    /// [`ColumnError::Type`] for any other column, [`ColumnError::Part`] for sides beyond 2^31.
    pub fn new(array: &ArrayRef) -> Result<Self, ColumnError> {
        if array.data_type() == &DataType::Null {
            let empty = Arc::new(StructArray::new_null(rle_fields(), array.len()));
            return Self::new(&(empty as ArrayRef));
        }
        let masks = array.as_struct_opt().filter(|_| is_rle(array.data_type()));
        let masks = masks.ok_or_else(|| ColumnError::Type {
            expected: "a mask",
            found: array.data_type().clone(),
        })?;
        // Not safe in Arrow's sense, so that a height above 2^31 is an error instead of a null.
        let options = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        let part = |name: &'static str, data_type: &DataType| match masks.column_by_name(name) {
            Some(column) => cast_with_options(column, data_type, &options)
                .map_err(|source| ColumnError::Part { part: name, source }),
            None => Ok(arrow::array::new_null_array(data_type, masks.len())),
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

    /// The column as [`rle_type`] has it.
    pub fn into_array(self) -> StructArray {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.heights),
            Arc::new(self.widths),
            Arc::new(self.counts),
        ];
        StructArray::new(rle_fields(), columns, self.nulls)
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
            || self.heights.is_null(row)
            || self.widths.is_null(row)
            || self.counts.is_null(row)
    }

    /// The mask of a row, not yet parsed; `None` if it or a part of it is null.
    pub fn row(&self, row: usize) -> Option<RleRow> {
        (!self.is_null(row)).then(|| RleRow {
            height: self.heights.value(row),
            width: self.widths.value(row),
            counts: self.counts.value(row).to_owned(),
        })
    }

    /// The mask of a row; `None` if it or a part of it is null.
    ///
    /// # Errors
    /// [`ColumnError::Sides`] or [`ColumnError::Mask`], which name the row.
    pub fn get(&self, row: usize) -> Result<Option<Rle>, ColumnError> {
        if self.is_null(row) {
            return Ok(None);
        }
        let (height, width) = (self.heights.value(row), self.widths.value(row));
        let sides = (u32::try_from(height), u32::try_from(width));
        let (Ok(h), Ok(w)) = sides else {
            return Err(ColumnError::Sides { row, height, width });
        };
        let size = Size {
            height: h,
            width: w,
        };
        match Rle::from_counts_str(size, self.counts.value(row)) {
            Ok(mask) => Ok(Some(mask)),
            Err(err) => Err(ColumnError::Mask {
                row,
                source: Box::new(err),
            }),
        }
    }
}

/// Builds a column of masks.
#[derive(Debug)]
pub struct RleBuilder {
    heights: Int32Builder,
    widths: Int32Builder,
    counts: StringBuilder,
    valid: Vec<bool>,
}

impl RleBuilder {
    /// An empty builder with room for `rows` rows.
    pub fn with_capacity(rows: usize) -> Self {
        Self {
            heights: Int32Builder::with_capacity(rows),
            widths: Int32Builder::with_capacity(rows),
            counts: StringBuilder::with_capacity(rows, rows * 64),
            valid: Vec::with_capacity(rows),
        }
    }

    /// Adds a mask, or a null.
    pub fn append(&mut self, mask: Option<&Rle>) {
        let row = mask.map(RleRow::from);
        self.valid.push(row.is_some());
        self.heights
            .append_option(row.as_ref().map(|row| row.height));
        self.widths.append_option(row.as_ref().map(|row| row.width));
        self.counts
            .append_option(row.as_ref().map(|row| &row.counts));
    }

    /// Returns the column.
    pub fn finish(mut self) -> StructArray {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.heights.finish()),
            Arc::new(self.widths.finish()),
            Arc::new(self.counts.finish()),
        ];
        let nulls = self
            .valid
            .contains(&false)
            .then(|| NullBuffer::from(self.valid));
        StructArray::new(rle_fields(), columns, nulls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_come_back_and_faults_name_their_row() {
        let size = Size {
            height: 3,
            width: 4,
        };
        let mask = Rle::from_runs(size, vec![4, 1, 2, 1, 4]).unwrap();
        let mut builder = RleBuilder::with_capacity(2);
        builder.append(Some(&mask));
        builder.append(None);
        let array: ArrayRef = Arc::new(builder.finish());
        assert!(is_rle(array.data_type()));
        let column = RleColumn::new(&array).unwrap();
        assert_eq!(column.get(0).unwrap(), Some(mask.clone()));
        assert_eq!(column.get(1).unwrap(), None);
        assert_eq!(column.row(0), Some(RleRow::from(&mask)));

        let parts: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(vec![3, -1])),
            Arc::new(Int32Array::from(vec![4, 4])),
            Arc::new(StringArray::from(vec!["!!", "4"])),
        ];
        let bad: ArrayRef = Arc::new(StructArray::new(rle_fields(), parts, None));
        let column = RleColumn::new(&bad).unwrap();
        for (row, part) in [
            (0, "row 0: a mask that cannot be read"),
            (1, "row 1: mask of -1 x 4 pixels"),
        ] {
            let message = column.get(row).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        let other: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        assert!(RleColumn::new(&other).is_err());
    }
}
