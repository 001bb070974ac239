//! Rows of `image_features`, which are too big for the row-by-row codec.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Float16Array, Int32Array, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Float16Type, Int32Type};
use chrono::{DateTime, Utc};
use half::f16;

use crate::ids::{ExtractorId, ImageId};
use crate::schema::{Table, list_item};
use crate::{Error, Result};

/// The kept features of one image; see `schemas/16_image_features.sql`.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the DDL documents the columns, once
pub struct ImageFeaturesRow {
    pub extractor_id: ExtractorId,
    pub image_id: ImageId,
    pub channels: i32,
    pub height: i32,
    pub width: i32,
    pub features: Vec<f16>,
    pub kept_at: DateTime<Utc>,
}

/// Converts kept features to one record batch.
///
/// # Errors
/// Any error from Arrow.
pub fn image_features_to_batch(rows: &[ImageFeaturesRow]) -> Result<RecordBatch> {
    let texts = |text: fn(&ImageFeaturesRow) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(text)))
    };
    let numbers = |number: fn(&ImageFeaturesRow) -> i32| -> ArrayRef {
        Arc::new(Int32Array::from_iter_values(rows.iter().map(number)))
    };
    let lengths = rows.iter().map(|row| row.features.len());
    let values: Vec<f16> = rows
        .iter()
        .flat_map(|row| row.features.iter().copied())
        .collect();
    let features = ListArray::try_new(
        list_item(DataType::Float16),
        OffsetBuffer::from_lengths(lengths),
        Arc::new(Float16Array::from(values)),
        None,
    )?;
    let times = rows.iter().map(|row| row.kept_at.timestamp_micros());
    let columns: Vec<ArrayRef> = vec![
        texts(|row| row.extractor_id.as_str()),
        texts(|row| row.image_id.as_str()),
        numbers(|row| row.channels),
        numbers(|row| row.height),
        numbers(|row| row.width),
        Arc::new(features),
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")),
    ];
    Ok(RecordBatch::try_new(
        Table::ImageFeatures.schema(),
        columns,
    )?)
}

/// Channels, rows and columns of the first row of a batch, and its features; `None` if there is no row.
///
/// # Errors
/// [`Error::RowCodec`] if a column is missing or of another type, or the sizes do not fit the features.
pub fn first_image_features(batch: &RecordBatch) -> Result<Option<([usize; 3], Vec<f16>)>> {
    if batch.num_rows() == 0 {
        return Ok(None);
    }
    let bad = |reason: &str| Error::RowCodec {
        table: Table::ImageFeatures.name().to_owned(),
        reason: reason.to_owned(),
    };
    let number = |name: &str| {
        let column = batch.column_by_name(name);
        let column = column.and_then(|it| it.as_primitive_opt::<Int32Type>());
        let value = column.map(|it| usize::try_from(it.value(0)).unwrap_or(0));
        value.ok_or_else(|| bad(&format!("no column '{name}' of whole numbers")))
    };
    let sizes = [number("channels")?, number("height")?, number("width")?];
    let lists = batch.column_by_name("features");
    let list = lists.and_then(|it| it.as_list_opt::<i32>());
    let list = list.ok_or_else(|| bad("no column 'features' of lists"))?;
    let values = list.value(0);
    let values = values
        .as_primitive_opt::<Float16Type>()
        .ok_or_else(|| bad("'features' are not 16-bit floats"))?;
    let expected = sizes
        .iter()
        .try_fold(1usize, |n, size| n.checked_mul(*size));
    if expected != Some(values.len()) {
        return Err(bad(&format!(
            "{} features, not {sizes:?} as its sizes say",
            values.len()
        )));
    }
    Ok(Some((sizes, values.values().to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(channels: i32, features: usize) -> ImageFeaturesRow {
        ImageFeaturesRow {
            extractor_id: ExtractorId::of_bytes(b"model"),
            image_id: ImageId::of_bytes(b"photo"),
            channels,
            height: 2,
            width: 3,
            features: (0..features).map(|n| f16::from_f32(n as f32)).collect(),
            kept_at: Utc::now(),
        }
    }

    #[test]
    fn features_come_back_with_their_sizes() {
        let batch = image_features_to_batch(&[row(2, 12), row(1, 6)]).unwrap();
        assert_eq!(batch.schema(), Table::ImageFeatures.schema());
        let (sizes, features) = first_image_features(&batch).unwrap().unwrap();
        assert_eq!(sizes, [2, 2, 3]);
        assert_eq!(features, row(2, 12).features);
        let none = image_features_to_batch(&[]).unwrap();
        assert_eq!(first_image_features(&none).unwrap(), None);
    }

    #[test]
    fn features_of_other_sizes_are_refused() {
        let batch = image_features_to_batch(&[row(2, 11)]).unwrap();
        let message = first_image_features(&batch).unwrap_err().to_string();
        assert!(message.contains("11 features"), "{message}");
    }
}
