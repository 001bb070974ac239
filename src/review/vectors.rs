//! Vectors of an extractor's masks, and of those that people added beside them, each of length 1, as review reads them.

use std::pin::Pin;

use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type};
use datafusion::prelude::Expr;
use futures::{Stream, StreamExt, TryStreamExt};

use super::statement::MaskKey;
use crate::catalogue::{extractor_of_mask, with_prompted};
use crate::ids::{ExtractorId, ImageId};
use crate::neighbours::SearchedTable;
use crate::schema::StoreTable;
use crate::store::columns::EmbeddingColumn;
use crate::store::{Snapshot, is_of_extractors, vector_column};
use crate::{Error, Result};

/// The vectors of an extractor's masks: its own embeddings, or those of an embedder.
pub(super) struct MaskVectors<'a> {
    snapshot: &'a Snapshot,
    table: StoreTable,
    column: &'static str,
    extractors: Vec<ExtractorId>,
}

/// Some masks with their vectors.
pub(super) struct UnitVectors {
    /// Image and index of each mask.
    pub masks: Vec<(ImageId, i32)>,
    /// `[masks, dim]`, row-major; each of length 1.
    pub numbers: Vec<f32>,
    /// Numbers of a vector.
    pub dim: usize,
    /// Masks that were left out because they have no vector, or one without direction.
    pub without: u64,
}

impl<'a> MaskVectors<'a> {
    /// Opens a table.
    ///
    /// # Errors
    /// As [`SearchedTable::store_table`]; [`Error::InvalidOption`] for vectors of images.
    pub async fn open(
        snapshot: &'a Snapshot,
        table: &SearchedTable,
        extractor_id: &ExtractorId,
    ) -> Result<Self> {
        if !table.is_of_masks() {
            return Err(Error::InvalidOption {
                what: "table with vectors of masks",
                value: table.to_string(),
                expected: "'masks' or 'vectors.NAME'".to_owned(),
            });
        }
        let table = table.store_table(snapshot).await?;
        let column = vector_column(&table).ok_or(Error::Internal {
            what: "a table without vectors is read for review",
        })?;
        Ok(Self {
            snapshot,
            table,
            column,
            extractors: with_prompted(snapshot, extractor_id).await?,
        })
    }

    /// The extractors whose masks these are.
    pub fn extractors(&self) -> &[ExtractorId] {
        &self.extractors
    }

    /// The key of a mask.
    pub fn key(&self, image_id: ImageId, mask_index: i32) -> Result<MaskKey> {
        let extractor_id = extractor_of_mask(&self.extractors, mask_index);
        let extractor_id = extractor_id.ok_or(Error::Internal {
            what: "vectors of masks without an extractor",
        })?;
        Ok(MaskKey {
            extractor_id: extractor_id.clone(),
            image_id,
            mask_index,
        })
    }

    /// The masks that satisfy a condition, some at a time.
    pub async fn stream(
        &self,
        filter: Option<Expr>,
    ) -> Result<Pin<Box<dyn Stream<Item = Result<UnitVectors>> + Send>>> {
        let of_extractors = is_of_extractors(&self.extractors);
        let wanted = filter.into_iter().fold(of_extractors, Expr::and);
        let scan = self.snapshot.scan(self.table.clone()).await?;
        let scan = scan.project(&["image_id", "mask_index", self.column])?;
        let column = self.column;
        let rows = scan.filter(wanted).stream().await?;
        Ok(rows.map(move |batch| units(&batch?, column)).boxed())
    }

    /// All masks that satisfy a condition.
    pub async fn all(&self, filter: Option<Expr>) -> Result<UnitVectors> {
        let parts: Vec<UnitVectors> = self.stream(filter).await?.try_collect().await?;
        let mut parts = parts.into_iter();
        let mut all = parts.next().unwrap_or(UnitVectors {
            masks: Vec::new(),
            numbers: Vec::new(),
            dim: 0,
            without: 0,
        });
        for part in parts {
            all.masks.extend(part.masks);
            all.numbers.extend(part.numbers);
            all.without += part.without;
        }
        Ok(all)
    }
}

fn units(batch: &RecordBatch, column: &str) -> Result<UnitVectors> {
    let text = |name: &str| -> Result<StringArray> {
        let column = batch.column_by_name(name).ok_or_else(no_column)?;
        let text = cast(column, &DataType::Utf8)?;
        Ok(text.as_string::<i32>().clone())
    };
    let images = text("image_id")?;
    let indices = batch.column_by_name("mask_index").ok_or_else(no_column)?;
    let indices = indices.as_primitive::<Int32Type>();
    let vectors = batch.column_by_name(column).ok_or_else(no_column)?;
    let vectors = EmbeddingColumn::new(vectors)?;
    let dim = vectors.dim();
    let mut found = UnitVectors {
        masks: Vec::with_capacity(batch.num_rows()),
        numbers: Vec::with_capacity(batch.num_rows() * dim),
        dim,
        without: 0,
    };
    for row in 0..batch.num_rows() {
        let numbers = vectors.get(row).map(|_| vectors.to_f32(row..row + 1));
        let numbers = numbers.unwrap_or_default();
        let length = numbers.iter().map(|x| x * x).sum::<f32>().sqrt();
        if !(length > 0.0 && length.is_finite()) {
            found.without += 1;
            continue;
        }
        let image_id = ImageId::try_from(images.value(row).to_owned())?;
        found.masks.push((image_id, indices.value(row)));
        found.numbers.extend(numbers.iter().map(|x| x / length));
    }
    Ok(found)
}

fn no_column() -> Error {
    Error::Internal {
        what: "a column that was asked for is not there",
    }
}
