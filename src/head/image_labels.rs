//! The labels of images, as a training query yields them.

use arrow::array::{Array, AsArray, ListArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::query_columns::{missing, text, texts, wrong};
use crate::Result;

/// The column with the images' labels.
pub(super) enum Labels {
    /// There is none: the query yields labels of masks only.
    None,
    One(StringArray),
    List(ListArray),
}

impl Labels {
    /// The column of a batch; `optional` says whether there may be none, and none in a row.
    pub fn of(batch: &RecordBatch, optional: bool) -> Result<Self> {
        if let Some(lists) = texts(batch, "labels")? {
            return Ok(Self::List(lists));
        }
        let Some(column) = batch.column_by_name("label") else {
            return if optional {
                Ok(Self::None)
            } else {
                Err(missing("label"))
            };
        };
        if optional && column.null_count() > 0 {
            let found = cast(column, &DataType::Utf8).ok();
            let found = found.as_ref().and_then(|text| text.as_string_opt::<i32>());
            let text = found.cloned();
            return text
                .map(Self::One)
                .ok_or_else(|| wrong("label", "TEXT", column));
        }
        Ok(Self::One(text(batch, "label")?))
    }

    /// Whether there are labels in a row, even none at all.
    pub fn says(&self, row: usize) -> bool {
        match self {
            Self::None => false,
            Self::One(column) => column.is_valid(row),
            Self::List(column) => column.is_valid(row),
        }
    }

    pub fn add_to(&self, row: usize, labels: &mut Vec<String>) -> Result<()> {
        let mut add = |label: &str| {
            if !labels.iter().any(|known| known == label) {
                labels.push(label.to_owned());
            }
        };
        match self {
            Self::None => {}
            Self::One(column) if column.is_null(row) => {}
            Self::One(column) => add(column.value(row)),
            Self::List(column) => {
                if column.is_null(row) {
                    return Ok(());
                }
                let list = column.value(row);
                let values = list.as_string::<i32>();
                values.iter().flatten().for_each(add);
            }
        }
        Ok(())
    }
}
