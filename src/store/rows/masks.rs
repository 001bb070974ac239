//! Rows of `masks`: too big for the row-by-row codec, so a builder makes batches column by column.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeListArray, Float16Array, Float32Array, Float64Array, Int8Array, Int32Array,
    Int64Array, RecordBatch, StringArray, StructArray,
};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field, Float16Type, SchemaRef};

use super::RleRow;
use crate::geometry::Rle;
use crate::names::ContentId;
use crate::schema::{EmbeddingFloat, EmbeddingType, Table};
use crate::{Error, Result};

/// One mask of an image; see `schemas/3_masks.sql` for units and ranges.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the DDL documents the columns, once
pub struct MaskRow {
    pub extractor_id: ContentId,
    pub image_id: ContentId,
    pub mask_index: i32,
    pub rle: Rle,
    pub predicted_iou: f32,
    pub stability_score: f32,
    pub point: [f64; 2],
    pub crop_box: [f64; 4],
    pub mask_output: i8,
    pub embedding: Vec<f32>,
}

/// Mask rows as one record batch; box and area are those of the mask.
///
/// # Errors
/// [`Error::RowCodec`] if an embedding has another length than the store's, or holds a number that is
/// not finite (in 16 bits, if the store keeps 16).
pub fn masks_to_batch(rows: &[MaskRow], embedding: EmbeddingType) -> Result<RecordBatch> {
    let texts = |text: fn(&MaskRow) -> &ContentId| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(
            rows.iter().map(|row| text(row).as_str()),
        ))
    };
    let floats = |value: fn(&MaskRow) -> f32| -> ArrayRef {
        Arc::new(Float32Array::from_iter_values(rows.iter().map(value)))
    };
    let columns: Vec<ArrayRef> = vec![
        texts(|row| &row.extractor_id),
        texts(|row| &row.image_id),
        Arc::new(Int32Array::from_iter_values(
            rows.iter().map(|row| row.mask_index),
        )),
        rle_column(rows)?,
        doubles::<4>(rows.iter().map(|row| row.rle.bbox().to_xywh()))?,
        Arc::new(Int64Array::from_iter_values(
            rows.iter()
                .map(|row| i64::try_from(row.rle.area()).unwrap_or(i64::MAX)),
        )),
        floats(|row| row.predicted_iou),
        floats(|row| row.stability_score),
        doubles::<2>(rows.iter().map(|row| row.point))?,
        doubles::<4>(rows.iter().map(|row| row.crop_box))?,
        Arc::new(Int8Array::from_iter_values(
            rows.iter().map(|row| row.mask_output),
        )),
        embedding_column(rows, embedding)?,
    ];
    let schema: SchemaRef = Table::Masks.schema_with(embedding);
    Ok(RecordBatch::try_new(schema, columns)?)
}

fn rle_column(rows: &[MaskRow]) -> Result<ArrayRef> {
    let schema = Table::Masks.schema();
    let DataType::Struct(fields) = schema.field_with_name("rle")?.data_type().clone() else {
        return Err(bad("its column 'rle' is no struct".to_owned()));
    };
    let rles: Vec<RleRow> = rows.iter().map(|row| RleRow::from(&row.rle)).collect();
    let sides = |side: fn(&RleRow) -> i32| -> ArrayRef {
        Arc::new(Int32Array::from_iter_values(rles.iter().map(side)))
    };
    let counts = StringArray::from_iter_values(rles.iter().map(|rle| &rle.counts));
    let parts = vec![
        sides(|rle| rle.height),
        sides(|rle| rle.width),
        Arc::new(counts) as ArrayRef,
    ];
    Ok(Arc::new(StructArray::try_new_with_length(
        fields,
        parts,
        None,
        rows.len(),
    )?))
}

fn doubles<const N: usize>(values: impl Iterator<Item = [f64; N]>) -> Result<ArrayRef> {
    let flat: Float64Array = values.flatten().map(Some).collect();
    list(Arc::new(flat), N)
}

fn list(values: ArrayRef, size: usize) -> Result<ArrayRef> {
    let item = Arc::new(Field::new("item", values.data_type().clone(), true));
    let size = i32::try_from(size).unwrap_or(i32::MAX);
    Ok(Arc::new(FixedSizeListArray::try_new(
        item, size, values, None,
    )?))
}

fn embedding_column(rows: &[MaskRow], embedding: EmbeddingType) -> Result<ArrayRef> {
    type F16 = <Float16Type as ArrowPrimitiveType>::Native;
    let dim = embedding.dim as usize;
    for row in rows {
        let place = || format!("mask {} of image '{}'", row.mask_index, row.image_id);
        if row.embedding.len() != dim {
            let found = row.embedding.len();
            return Err(bad(format!(
                "{}: embedding of {found} numbers, expected {dim}",
                place()
            )));
        }
        let fits = |x: &f32| match embedding.float {
            EmbeddingFloat::F16 => F16::from_f32(*x).is_finite(),
            EmbeddingFloat::F32 => x.is_finite(),
        };
        if let Some(at) = row.embedding.iter().position(|x| !fits(x)) {
            let value = row.embedding[at];
            return Err(bad(format!(
                "{}: embedding[{at}] is {value}, which the store cannot hold as a finite number",
                place()
            )));
        }
    }
    let flat = rows.iter().flat_map(|row| row.embedding.iter().copied());
    let values: ArrayRef = match embedding.float {
        EmbeddingFloat::F16 => Arc::new(Float16Array::from_iter_values(flat.map(F16::from_f32))),
        EmbeddingFloat::F32 => Arc::new(Float32Array::from_iter_values(flat)),
    };
    list(values, dim)
}

fn bad(reason: String) -> Error {
    Error::RowCodec {
        table: Table::Masks.name(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::{Float64Type, Int64Type};

    use super::*;
    use crate::geometry::Size;

    fn row(embedding: Vec<f32>) -> MaskRow {
        let size = Size {
            height: 3,
            width: 4,
        };
        MaskRow {
            extractor_id: ContentId::of_bytes(b"model"),
            image_id: ContentId::of_bytes(b"photo"),
            mask_index: 7,
            rle: Rle::from_runs(size, vec![4, 1, 2, 1, 4]).unwrap(),
            predicted_iou: 0.5,
            stability_score: 0.25,
            point: [1.5, 2.5],
            crop_box: [0.0, 0.0, 4.0, 3.0],
            mask_output: 2,
            embedding,
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
