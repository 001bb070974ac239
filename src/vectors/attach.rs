//! Vectors beside the masks they belong to: a column for batches of masks.

use std::collections::HashMap;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, concat_batches, take};
use arrow::datatypes::{DataType, Int32Type};

use crate::ids::{EmbedderId, ExtractorId, ImageId};
use crate::schema::{StoreTable, VectorTable};
use crate::store::{Snapshot, is_of_extractors, is_of_images};
use crate::{Error, Result};

/// The vectors of the masks of some images, in memory.
pub(crate) struct VectorsOfImages {
    /// Rows of `vectors`, by image and mask index.
    rows: HashMap<String, HashMap<i32, u32>>,
    vectors: ArrayRef,
}

impl VectorsOfImages {
    /// Reads the vectors that an embedder has of some extractors' masks in some images; an image and an index must tell
    /// these masks apart.
    ///
    /// # Errors
    /// Any error from the store.
    pub async fn read(
        snapshot: &Snapshot,
        embedder_id: &EmbedderId,
        extractors: &[ExtractorId],
        images: &[ImageId],
    ) -> Result<Self> {
        let table = StoreTable::Vectors(VectorTable::Masks, embedder_id.clone());
        let scan = snapshot.scan(table).await?;
        let scan = scan.project(&["image_id", "mask_index", "vector"])?;
        let batches = scan
            .filter(is_of_extractors(extractors).and(is_of_images(images)))
            .collect();
        let batches = batches.await?;
        let Some(first) = batches.first() else {
            return Ok(Self {
                rows: HashMap::new(),
                vectors: arrow::array::new_null_array(&DataType::Null, 0),
            });
        };
        let all = concat_batches(&first.schema(), &batches)?;
        drop(batches);
        let column = |name: &str| {
            let found = all.column_by_name(name);
            found.ok_or(Error::Internal {
                what: "a scan of vectors lacks a column",
            })
        };
        let image_ids = cast(column("image_id")?, &DataType::Utf8)?;
        let image_ids = image_ids.as_string::<i32>();
        let indices = column("mask_index")?.as_primitive::<Int32Type>();
        let mut rows: HashMap<String, HashMap<i32, u32>> = HashMap::new();
        for (row, (image_id, index)) in (0u32..).zip(image_ids.iter().zip(indices)) {
            let (Some(image_id), Some(index)) = (image_id, index) else {
                continue;
            };
            match rows.get_mut(image_id) {
                Some(of_image) => of_image.insert(index, row),
                None => {
                    let of_image = HashMap::from([(index, row)]);
                    rows.insert(image_id.to_owned(), of_image);
                    None
                }
            };
        }
        let vectors = column("vector")?.clone();
        Ok(Self { rows, vectors })
    }

    /// The vector of each mask of a batch; null for a mask without one.
    ///
    /// # Errors
    /// Any error from Arrow.
    pub fn column(&self, masks: &RecordBatch, dim: u32) -> Result<ArrayRef> {
        let column = |name: &str| {
            let found = masks.column_by_name(name);
            found.ok_or(Error::Internal {
                what: "a batch of masks lacks a column",
            })
        };
        if self.rows.is_empty() {
            let schema = VectorTable::Masks.definition(dim)?.schema;
            let vector = schema.field_with_name("vector")?.data_type();
            return Ok(arrow::array::new_null_array(vector, masks.num_rows()));
        }
        let image_ids = cast(column("image_id")?, &DataType::Utf8)?;
        let image_ids = image_ids.as_string::<i32>();
        let indices = column("mask_index")?.as_primitive::<Int32Type>();
        let found = image_ids
            .iter()
            .zip(indices)
            .map(|(image_id, index)| self.rows.get(image_id?)?.get(&index?).copied());
        let found: UInt32Array = found.collect();
        Ok(take(&self.vectors, &found, None)?)
    }
}
