//! Rows of `masks`, which are too big for the row-by-row codec; their batches are built column by column.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float32Array, Int8Array, Int32Array, Int64Array, RecordBatch, StringArray,
};

use crate::error::ColumnError;
use crate::geometry::Rle;
use crate::ids::{ExtractorId, ImageId};
use crate::schema::{EmbeddingType, Table};
use crate::store::columns::{RleBuilder, doubles_to_array, embeddings_to_array};
use crate::{Error, Result};

/// One mask of an image; see `schemas/3_masks.sql` for units and ranges.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the DDL documents the columns, once
pub struct MaskRow {
    pub extractor_id: ExtractorId,
    pub image_id: ImageId,
    pub mask_index: i32,
    pub rle: Rle,
    /// `None` for the bounding box of the mask itself.
    pub bbox: Option<[f64; 4]>,
    pub predicted_iou: Option<f32>,
    pub stability_score: Option<f32>,
    pub point: Option<[f64; 2]>,
    pub crop_box: [f64; 4],
    pub mask_output: Option<i8>,
    pub embedding: Option<Vec<f32>>,
    pub object_score: Option<f32>,
}

/// Converts mask rows to one record batch; the area is computed from the mask.
///
/// # Errors
/// [`Error::RowCodec`] if an embedding has a different length from the store's, or holds a number that is not finite
/// (in 16 bits, if the store keeps embeddings in 16 bits).
pub fn masks_to_batch(rows: &[MaskRow], embedding: EmbeddingType) -> Result<RecordBatch> {
    let texts = |text: fn(&MaskRow) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(text)))
    };
    let floats = |value: fn(&MaskRow) -> Option<f32>| -> ArrayRef {
        Arc::new(rows.iter().map(value).collect::<Float32Array>())
    };
    let mut rles = RleBuilder::with_capacity(rows.len());
    for row in rows {
        rles.append(Some(&row.rle));
    }
    let boxes = rows
        .iter()
        .map(|row| Some(row.bbox.unwrap_or_else(|| row.rle.bbox().to_xywh())));
    let areas: Result<Vec<i64>> = rows.iter().map(area).collect();
    let embeddings = rows.iter().map(|row| row.embedding.as_deref());
    let column = |made: Result<ArrayRef, ColumnError>| made.map_err(|err| in_mask(rows, &err));
    let columns: Vec<ArrayRef> = vec![
        texts(|row| row.extractor_id.as_str()),
        texts(|row| row.image_id.as_str()),
        Arc::new(Int32Array::from_iter_values(
            rows.iter().map(|row| row.mask_index),
        )),
        Arc::new(rles.finish()),
        column(doubles_to_array::<4>(boxes))?,
        Arc::new(Int64Array::from(areas?)),
        floats(|row| row.predicted_iou),
        floats(|row| row.stability_score),
        column(doubles_to_array::<2>(rows.iter().map(|row| row.point)))?,
        column(doubles_to_array::<4>(
            rows.iter().map(|row| Some(row.crop_box)),
        ))?,
        Arc::new(
            rows.iter()
                .map(|row| row.mask_output)
                .collect::<Int8Array>(),
        ),
        column(embeddings_to_array(embeddings, embedding))?,
        floats(|row| row.object_score),
    ];
    Ok(RecordBatch::try_new(
        Table::Masks.schema_with(embedding),
        columns,
    )?)
}

fn area(row: &MaskRow) -> Result<i64> {
    i64::try_from(row.rle.area()).map_err(|_| bad(format!("{}: area beyond 2^63", name(row))))
}

/// Adds the mask at fault to the error of a column.
fn in_mask(rows: &[MaskRow], err: &ColumnError) -> Error {
    let row = match err {
        ColumnError::Length { row, .. } | ColumnError::NotFinite { row, .. } => rows.get(*row),
        _ => None,
    };
    let reason = err.to_string();
    bad(match (row, reason.split_once(": ")) {
        (Some(row), Some((_, what))) => format!("{}: {what}", name(row)),
        _ => reason,
    })
}

fn name(row: &MaskRow) -> String {
    format!("mask {} of image '{}'", row.mask_index, row.image_id)
}

fn bad(reason: String) -> Error {
    Error::RowCodec {
        table: Table::Masks.name().to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::{Float64Type, Int64Type};

    use super::*;
    use crate::geometry::Size;
    use crate::schema::EmbeddingFloat;

    fn row(embedding: Vec<f32>) -> MaskRow {
        let size = Size {
            height: 3,
            width: 4,
        };
        MaskRow {
            extractor_id: ExtractorId::of_bytes(b"model"),
            image_id: ImageId::of_bytes(b"photo"),
            mask_index: 7,
            rle: Rle::from_runs(size, vec![4, 1, 2, 1, 4]).unwrap(),
            bbox: None,
            predicted_iou: Some(0.5),
            stability_score: Some(0.25),
            point: Some([1.5, 2.5]),
            crop_box: [0.0, 0.0, 4.0, 3.0],
            mask_output: Some(2),
            embedding: Some(embedding),
            object_score: None,
        }
    }

    #[test]
    fn batches_fit_the_table_and_boxes_come_from_masks() {
        let small = |float| EmbeddingType { float, dim: 2 };
        for float in [EmbeddingFloat::F16, EmbeddingFloat::F32] {
            let batch = masks_to_batch(&[row(vec![1.0, -2.5]), row(vec![0.0, 3.0])], small(float));
            let batch = batch.unwrap();
            assert_eq!(batch.schema(), Table::Masks.schema_with(small(float)));
            assert_eq!(batch.num_rows(), 2);
            let boxes = batch
                .column_by_name("bbox")
                .unwrap()
                .as_fixed_size_list()
                .value(1);
            assert_eq!(
                boxes.as_primitive::<Float64Type>().values()[..],
                [1.0, 1.0, 2.0, 1.0]
            );
            let areas = batch.column_by_name("area").unwrap();
            assert_eq!(areas.as_primitive::<Int64Type>().values()[..], [2, 2]);
        }
        assert_eq!(
            masks_to_batch(&[], EmbeddingType::default())
                .unwrap()
                .num_rows(),
            0
        );
    }

    #[test]
    fn embeddings_that_do_not_fit_are_named() {
        let f16 = EmbeddingType {
            float: EmbeddingFloat::F16,
            dim: 2,
        };
        for (embedding, part) in [
            (vec![1.0], "embedding of 1 numbers, expected 2"),
            (vec![0.0, f32::NAN], "embedding[1] is NaN"),
            (vec![70_000.0, 0.0], "embedding[0] is 70000"),
        ] {
            let message = masks_to_batch(&[row(embedding)], f16)
                .unwrap_err()
                .to_string();
            assert!(
                message.contains(part) && message.contains("mask 7"),
                "{message}"
            );
        }
    }
}
