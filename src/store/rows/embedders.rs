//! Rows of `embedders` and `embeddings`, and batches of vectors.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Row;
use crate::ids::{EmbedderId, ExtractorId, ImageId};
use crate::schema::{EmbeddingFloat, EmbeddingType, Table, VectorTable};
use crate::store::columns::embeddings_to_array;
use crate::{Error, Result};

/// One way of making vectors; see `schemas/13_embedders.sql`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the DDL documents the columns, once
pub struct EmbedderRow {
    pub embedder_id: EmbedderId,
    pub embedder: String,
    pub model_type: String,
    pub checkpoint: String,
    pub checkpoint_sha256: String,
    pub dim: i32,
    pub options: String,
    pub grainstore_version: String,
    pub created_at: DateTime<Utc>,
}

impl Row for EmbedderRow {
    const TABLE: Table = Table::Embedders;
}

impl EmbedderRow {
    /// Numbers per vector.
    pub fn dim(&self) -> u32 {
        u32::try_from(self.dim).unwrap_or(0)
    }
}

/// One image that an embedder is done with; see `schemas/14_embeddings.sql`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the DDL documents the columns, once
pub struct EmbeddingDoneRow {
    pub embedder_id: EmbedderId,
    pub extractor_id: Option<ExtractorId>,
    pub image_id: ImageId,
    pub vectors: i32,
    pub seconds: f64,
    pub embedded_at: DateTime<Utc>,
}

impl Row for EmbeddingDoneRow {
    const TABLE: Table = Table::Embeddings;
}

/// The vector of one mask; see `schemas/vectors.sql`.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the DDL documents the columns, once
pub struct VectorRow {
    pub extractor_id: ExtractorId,
    pub image_id: ImageId,
    pub mask_index: i32,
    pub vector: Vec<f32>,
}

/// The vector of one image; see `schemas/image_vectors.sql`.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the DDL documents the columns, once
pub struct ImageVectorRow {
    pub image_id: ImageId,
    pub vector: Vec<f32>,
}

/// Converts vectors of masks to one record batch.
///
/// # Errors
/// [`Error::RowCodec`] if a vector has not `dim` numbers, or holds a number that is not finite in 16 bits.
pub fn vectors_to_batch(rows: &[VectorRow], dim: u32) -> Result<RecordBatch> {
    let table = VectorTable::Masks;
    let indices = rows.iter().map(|row| row.mask_index);
    let vectors = rows.iter().map(|row| row.vector.as_slice());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(
            rows.iter().map(|row| row.extractor_id.as_str()),
        )),
        Arc::new(StringArray::from_iter_values(
            rows.iter().map(|row| row.image_id.as_str()),
        )),
        Arc::new(Int32Array::from_iter_values(indices)),
        vectors_to_array(table, vectors, dim)?,
    ];
    Ok(RecordBatch::try_new(
        table.definition(dim)?.schema,
        columns,
    )?)
}

/// Converts vectors of images to one record batch.
///
/// # Errors
/// As [`vectors_to_batch`].
pub fn image_vectors_to_batch(rows: &[ImageVectorRow], dim: u32) -> Result<RecordBatch> {
    let table = VectorTable::Images;
    let vectors = rows.iter().map(|row| row.vector.as_slice());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(
            rows.iter().map(|row| row.image_id.as_str()),
        )),
        vectors_to_array(table, vectors, dim)?,
    ];
    Ok(RecordBatch::try_new(
        table.definition(dim)?.schema,
        columns,
    )?)
}

fn vectors_to_array<'a>(
    table: VectorTable,
    vectors: impl Iterator<Item = &'a [f32]>,
    dim: u32,
) -> Result<ArrayRef> {
    let float = EmbeddingFloat::F16;
    let array = embeddings_to_array(vectors.map(Some), EmbeddingType { float, dim });
    array.map_err(|err| Error::RowCodec {
        table: table.name().to_owned(),
        reason: err.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_fit_their_tables() {
        let row = |vector| VectorRow {
            extractor_id: ExtractorId::of_bytes(b"model"),
            image_id: ImageId::of_bytes(b"photo"),
            mask_index: 3,
            vector,
        };
        let batch = vectors_to_batch(&[row(vec![1.0, -2.0]), row(vec![0.5, 0.0])], 2).unwrap();
        assert_eq!(batch.num_rows(), 2);
        assert_eq!(
            batch.schema(),
            VectorTable::Masks.definition(2).unwrap().schema
        );
        let image = ImageVectorRow {
            image_id: ImageId::of_bytes(b"photo"),
            vector: vec![1.0],
        };
        assert_eq!(
            image_vectors_to_batch(&[image], 1).unwrap().num_columns(),
            2
        );
        for bad in [vec![1.0], vec![1.0, f32::INFINITY], vec![1e6, 0.0]] {
            let message = vectors_to_batch(&[row(bad)], 2).unwrap_err().to_string();
            assert!(message.starts_with("table 'vectors'"), "{message}");
        }
    }
}
