//! Vectors become rows: with the marks that their images are done, and with their embedder, in one commit.

use std::collections::HashSet;

use datafusion::logical_expr::Expr;
use datafusion::prelude::{col, lit};

use crate::error::VectorError;
use crate::ids::{EmbedderId, ExtractorId, ImageId};
use crate::schema::{StoreTable, Table, VectorTable};
use crate::store::rows::{
    EmbedderRow, EmbeddingDoneRow, ImageVectorRow, Row, VectorRow, collect, image_vectors_to_batch,
    vectors_to_batch,
};
use crate::store::{Changes, ImageSet, Snapshot};
use crate::{Error, Result};

/// Vectors of one embedder that are not committed yet.
#[derive(Debug, Default, Clone)]
pub(crate) struct VectorBatch {
    pub masks: Vec<VectorRow>,
    pub images: Vec<ImageVectorRow>,
    pub done: Vec<EmbeddingDoneRow>,
}

impl VectorBatch {
    /// The batch without some images.
    pub fn without(&self, images: &HashSet<ImageId>) -> Self {
        let masks = self
            .masks
            .iter()
            .filter(|row| !images.contains(&row.image_id));
        let of_images = self
            .images
            .iter()
            .filter(|row| !images.contains(&row.image_id));
        let done = self
            .done
            .iter()
            .filter(|row| !images.contains(&row.image_id));
        Self {
            masks: masks.cloned().collect(),
            images: of_images.cloned().collect(),
            done: done.cloned().collect(),
        }
    }
}

/// What changes add.
#[derive(Debug, Default)]
pub(crate) struct AddedVectors {
    /// The images that they mark as done.
    pub images: Vec<ImageId>,
    /// Number of vectors.
    pub vectors: u64,
}

/// Adds the vectors of the images that nobody has embedded in the meantime to the changes of a commit, and registers the
/// embedder if the store does not know it. `done` are the [`images_of_embedder`].
///
/// # Errors
/// [`crate::error::VectorError::EmbedderExists`] if another embedder has the name; errors of the store.
pub(crate) async fn add_vectors(
    changes: &mut Changes,
    head: &Snapshot,
    embedder: &EmbedderRow,
    extractor_id: Option<&ExtractorId>,
    done: &ImageSet,
    batch: &VectorBatch,
) -> Result<AddedVectors> {
    let embedder_id = &embedder.embedder_id;
    let ids = batch.done.iter().map(|row| &row.image_id);
    let before: HashSet<ImageId> = done.among(head, ids).await?;
    let done: Vec<EmbeddingDoneRow> = batch
        .done
        .iter()
        .filter(|row| !before.contains(&row.image_id))
        .cloned()
        .collect();
    if done.is_empty() {
        return Ok(AddedVectors::default());
    }
    let stored: Vec<EmbedderRow> = collect(head.scan(Table::Embedders).await?).await?;
    if !stored.iter().any(|row| row.embedder_id == *embedder_id) {
        check_free(&stored, embedder)?;
        let row = std::slice::from_ref(embedder);
        changes.append(Table::Embedders, EmbedderRow::to_batch(row)?);
    }
    let kind = match extractor_id {
        Some(_) => VectorTable::Masks,
        None => VectorTable::Images,
    };
    let (table, dim) = (
        StoreTable::Vectors(kind, embedder_id.clone()),
        embedder.dim(),
    );
    if !head.has_table(&table) {
        changes.create_vectors(kind, embedder_id, dim)?;
    }
    let vectors = match kind {
        VectorTable::Masks => {
            let is_new = |row: &&VectorRow| !before.contains(&row.image_id);
            let rows: Vec<VectorRow> = batch.masks.iter().filter(is_new).cloned().collect();
            vectors_to_batch(&rows, dim)?
        }
        VectorTable::Images => {
            let is_new = |row: &&ImageVectorRow| !before.contains(&row.image_id);
            let rows: Vec<ImageVectorRow> = batch.images.iter().filter(is_new).cloned().collect();
            image_vectors_to_batch(&rows, dim)?
        }
    };
    let added = AddedVectors {
        images: done.iter().map(|row| row.image_id.clone()).collect(),
        vectors: vectors.num_rows() as u64,
    };
    changes.append(table, vectors);
    changes.append(EmbeddingDoneRow::TABLE, EmbeddingDoneRow::to_batch(&done)?);
    Ok(added)
}

/// Checks that no other embedder has the name of a new one.
pub(crate) fn check_free(stored: &[EmbedderRow], embedder: &EmbedderRow) -> Result<()> {
    let mut others = stored
        .iter()
        .filter(|row| row.embedder_id != embedder.embedder_id);
    match others.find(|row| row.embedder == embedder.embedder) {
        None => Ok(()),
        Some(other) => Err(Error::Vectors(VectorError::EmbedderExists {
            name: other.embedder.clone(),
            embedder_id: other.embedder_id.to_string(),
            options: other.options.clone(),
        })),
    }
}

/// Ids of the images that an embedder has done; only those in `among`, if it is given.
pub(crate) async fn images_embedded(
    snapshot: &Snapshot,
    embedder_id: &EmbedderId,
    extractor_id: Option<&ExtractorId>,
    among: Option<Vec<&ImageId>>,
) -> Result<HashSet<ImageId>> {
    let wanted = is_embedded(embedder_id, extractor_id);
    snapshot.image_ids(Table::Embeddings, wanted, among).await
}

/// The images that an embedder has done, for a run that asks again and again.
pub(crate) fn images_of_embedder(
    embedder_id: &EmbedderId,
    extractor_id: Option<&ExtractorId>,
) -> ImageSet {
    ImageSet::new(Table::Embeddings, is_embedded(embedder_id, extractor_id))
}

fn is_embedded(embedder_id: &EmbedderId, extractor_id: Option<&ExtractorId>) -> Expr {
    let of_masks: Expr = match extractor_id {
        Some(extractor_id) => col("extractor_id").eq(lit(extractor_id.as_str())),
        None => col("extractor_id").is_null(),
    };
    col("embedder_id")
        .eq(lit(embedder_id.as_str()))
        .and(of_masks)
}

/// Ids of the images of which an embedder has vectors, for the masks of an extractor.
pub(crate) async fn images_with_vectors(
    snapshot: &Snapshot,
    embedder_id: &EmbedderId,
    extractor_id: &ExtractorId,
) -> Result<HashSet<ImageId>> {
    let of_embedder = col("embedder_id").eq(lit(embedder_id.as_str()));
    let of_masks = col("extractor_id").eq(lit(extractor_id.as_str()));
    let wanted = of_embedder.and(of_masks).and(col("vectors").gt(lit(0)));
    snapshot.image_ids(Table::Embeddings, wanted, None).await
}

/// The row of an embedder under the name that it has in a store or, if another has its name, under a free one.
pub(crate) fn free_name(stored: &[EmbedderRow], row: EmbedderRow) -> EmbedderRow {
    if let Some(known) = stored.iter().find(|it| it.embedder_id == row.embedder_id) {
        return known.clone();
    }
    if check_free(stored, &row).is_ok() {
        return row;
    }
    let digits = row.embedder_id.as_str().get(..6).unwrap_or_default();
    EmbedderRow {
        embedder: format!("{}_{digits}", row.embedder),
        ..row
    }
}
