//! The query `train/refined_masks` over the scores of a student that is not stored yet.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float32Array, Int32Array, RecordBatch, StringArray,
    StringBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type};

use super::bags::Bags;
use super::refine::{PickedMask, ScoredMask};
use crate::catalogue::extractor_of_mask;
use crate::ids::ExtractorId;
use crate::query::Query;
use crate::schema::Table;
use crate::sql::Sql;
use crate::store::Snapshot;
use crate::{Error, Result};

/// The relation that the query reads: one row per mask of a labelled image that the student calls by a class.
const SCORED: &str = "scored_masks";

/// Picks masks by SQL.
pub(super) struct RefinedMasks {
    /// Members that are trained at once share it, one query at a time.
    sql: tokio::sync::Mutex<Sql>,
    query: Query,
}

impl RefinedMasks {
    /// Prepares the query over a snapshot.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn new(snapshot: &Snapshot) -> Result<Self> {
        Ok(Self {
            sql: tokio::sync::Mutex::new(Sql::new(snapshot).await?),
            query: Query::named("train/refined_masks")?,
        })
    }

    /// Picks masks of the bags by a student's scores.
    ///
    /// # Errors
    /// As [`Sql::query`].
    pub async fn pick(&self, bags: &Bags, scored: &[ScoredMask]) -> Result<Vec<PickedMask>> {
        let sql = self.sql.lock().await;
        sql.replace_rows(SCORED, scored_rows(bags, scored)?)?;
        let mut rows = sql.query(self.query.sql()).await?;
        let images = bags.images.iter().enumerate();
        let images: HashMap<&str, usize> = images
            .map(|(at, image)| (image.image_id.as_str(), at))
            .collect();
        let mut picked = Vec::new();
        while let Some(batch) = rows.next().await? {
            let column = |name: &str| {
                let found = batch.column_by_name(name).cloned();
                found.ok_or_else(|| bad(format!("it yields no column '{name}'")))
            };
            let ids = cast(&column("image_id")?, &DataType::Utf8)?;
            let indices = cast(&column("mask_index")?, &DataType::Int32)?;
            let classes = cast(&column("class_index")?, &DataType::Int32)?;
            let (ids, indices) = (ids.as_string::<i32>(), indices.as_primitive::<Int32Type>());
            let classes = classes.as_primitive::<Int32Type>();
            for row in 0..batch.num_rows() {
                let Some(image) = images.get(ids.value(row)).copied() else {
                    continue;
                };
                // A mask that was left out of the bags has no row there.
                let of_image = bags.images.get(image).map(|image| &image.mask_indices[..]);
                let Ok(mask) = of_image
                    .unwrap_or_default()
                    .binary_search(&indices.value(row))
                else {
                    continue;
                };
                let class = classes.is_valid(row).then(|| classes.value(row));
                let class = class.map(usize::try_from).transpose();
                picked.push(PickedMask {
                    image,
                    mask,
                    class: class.map_err(|_| bad("it yields a class_index below 0".to_owned()))?,
                });
            }
        }
        // The order of rows is the engine's own; that of the masks decides the order of steps.
        picked.sort_by_key(|it| (it.image, it.mask));
        Ok(picked)
    }
}

/// The rows of `scored_masks`.
fn scored_rows(bags: &Bags, scored: &[ScoredMask]) -> Result<RecordBatch> {
    let mut images = StringBuilder::new();
    let (mut masks, mut classes, mut scores) = (Vec::new(), Vec::new(), Vec::new());
    let mut on_image = Vec::new();
    for it in scored {
        let Some(image) = bags.images.get(it.image) else {
            continue;
        };
        let Some(mask) = image.mask_indices.get(it.mask) else {
            continue;
        };
        images.append_value(image.image_id.as_str());
        masks.push(*mask);
        classes.push(i32::try_from(it.class).unwrap_or(i32::MAX));
        scores.push(it.score);
        on_image.push(it.is_on_image);
    }
    let extractors: Vec<ExtractorId> = std::iter::once(&bags.extractor_id)
        .chain(&bags.prompted_id)
        .cloned()
        .collect();
    let of_mask = |mask: &i32| extractor_of_mask(&extractors, *mask).map(ExtractorId::as_str);
    let extractor = StringArray::from_iter(masks.iter().map(of_mask));
    let columns: [(&str, ArrayRef); 6] = [
        ("image_id", Arc::new(images.finish())),
        ("extractor_id", Arc::new(extractor)),
        ("mask_index", Arc::new(Int32Array::from(masks))),
        ("class_index", Arc::new(Int32Array::from(classes))),
        ("score", Arc::new(Float32Array::from(scores))),
        ("is_on_image", Arc::new(BooleanArray::from(on_image))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn bad(reason: String) -> Error {
    Error::RowCodec {
        table: Table::Masks.name().to_owned(),
        reason: format!("query train/refined_masks: {reason}"),
    }
}
