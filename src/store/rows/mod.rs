//! Rows as Rust values: one struct per table that is read or written row by row.
//!
//! A struct's field names are the table's column names. Batches are made from the table's Arrow schema, so a struct
//! that does not fit its table fails in a test, not in a store. Masks with their embeddings are too big for this;
//! [`masks_to_batch`] and [`vectors_to_batch`] make batches of masks and vectors.

mod class_sets;
mod embedders;
mod evaluations;
mod extractions;
mod failures;
mod ground_truth;
mod heads;
mod image_features;
mod images;
mod labels;
mod mask_labels;
mod masks;
mod policies;
mod predictions;
mod prompts;

use arrow::array::RecordBatch;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use class_sets::ClassRow;
pub use embedders::{
    EmbedderRow, EmbeddingDoneRow, ImageVectorRow, VectorRow, image_vectors_to_batch,
    vectors_to_batch,
};
pub use evaluations::EvaluationRow;
pub use extractions::{ExtractionRow, ExtractorKind, ExtractorRow, embedding_space};
pub use failures::{FailureRow, unrecorded_failures};
pub use ground_truth::{GroundTruthRow, RleRow};
pub use heads::{AS_IT_IS, HeadRow, TOKEN_INPUTS};
pub use image_features::{ImageFeaturesRow, first_image_features, image_features_to_batch};
pub use images::ImageRow;
pub use labels::LabelRow;
pub use mask_labels::MaskLabelRow;
pub use masks::{MaskRow, masks_to_batch};
pub use policies::PolicyRow;
pub use predictions::PredictionRow;
pub use prompts::PromptRow;

use super::Scan;
use crate::schema::Table;
use crate::{Error, Result};

/// A row of a table.
pub trait Row: Serialize + DeserializeOwned {
    /// The table.
    const TABLE: Table;

    /// Converts rows to one record batch with the table's schema.
    ///
    /// # Errors
    /// [`Error::RowCodec`] if a value does not fit its column.
    fn to_batch(rows: &[Self]) -> Result<RecordBatch> {
        let schema = Self::TABLE.schema();
        serde_arrow::to_record_batch(schema.fields(), &rows).map_err(|err| Error::RowCodec {
            table: Self::TABLE.name().to_owned(),
            reason: err.message().to_owned(),
        })
    }

    /// The rows of a batch that holds all of the table's columns.
    ///
    /// # Errors
    /// [`Error::RowCodec`] if a column is missing or of another type.
    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>> {
        decode(Self::TABLE, batch)
    }
}

/// Reads every row of a scan into memory. Use it only for scans of bounded size.
///
/// # Errors
/// [`Error::RowCodec`] if a column is missing or of another type, or errors from Lance.
pub async fn collect<R: Row>(scan: Scan) -> Result<Vec<R>> {
    let mut rows = Vec::new();
    for batch in scan.collect().await? {
        rows.extend(R::from_batch(&batch)?);
    }
    Ok(rows)
}

/// The rows of a batch that holds some of a table's columns, as structs whose fields are named like these columns.
///
/// # Errors
/// [`Error::RowCodec`] if a column is missing or of another type.
pub fn decode<T: DeserializeOwned>(table: Table, batch: &RecordBatch) -> Result<Vec<T>> {
    serde_arrow::from_record_batch(batch).map_err(|err| Error::RowCodec {
        table: table.name().to_owned(),
        reason: err.message().to_owned(),
    })
}
