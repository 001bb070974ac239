//! A table that is searched: its dataset, its column of vectors, and the ways to read them.

use std::pin::pin;
use std::sync::Arc;

use arrow::array::{Float32Array, RecordBatch};
use arrow::datatypes::{DataType, Int32Type, UInt64Type};
use datafusion::logical_expr::Expr;
use futures::{StreamExt, TryStreamExt};
use lance::dataset::scanner::MaterializationStyle;
use lance::dataset::{Dataset, ProjectionRequest, ROW_ID};

use super::request::{Neighbour, SearchedTable};
use super::similarity::{Best, Wanted};
use crate::ids::{ExtractorId, ImageId};
use crate::store::columns::{EmbeddingColumn, EmbeddingRow, column, numbers, texts};
use crate::store::{COSINE, IndexStats, Snapshot, cosine, indexes_of, vector_column};
use crate::task::blocking;
use crate::{Error, Result};

/// Bytes of vectors that are read and compared at a time: enough to outweigh the cost of starting a task, few enough to
/// stay in the processor's cache.
const BATCH_BYTES: usize = 4 << 20;
/// A filter that leaves less than one in so many rows is applied before vectors are read, row by row; any other while
/// all vectors are read.
const FEW: u64 = 20;

/// A table that is searched.
pub(super) struct Searched {
    /// Its name in errors.
    pub name: String,
    /// Numbers per vector.
    pub dim: usize,
    /// Whether its rows are masks, and not images.
    pub is_of_masks: bool,
    /// Whether extractors made the vectors, and not an embedder.
    pub is_of_extractors: bool,
    dataset: Arc<Dataset>,
    /// The column of vectors.
    vector: &'static str,
}

/// What is looked for.
pub(super) struct Sought {
    pub wanted: Wanted,
    pub count: usize,
    pub filter: Option<Expr>,
}

impl Searched {
    /// Opens the dataset.
    ///
    /// # Errors
    /// As [`SearchedTable::store_table`].
    pub async fn open(snapshot: &Snapshot, table: &SearchedTable) -> Result<Self> {
        let stored = table.store_table(snapshot).await?;
        let vector = vector_column(&stored).ok_or(Error::Internal {
            what: "a table without vectors is searched",
        })?;
        let dataset = snapshot.dataset(stored).await?;
        let schema = arrow::datatypes::Schema::from(dataset.schema());
        let DataType::FixedSizeList(_, dim) = schema.field_with_name(vector)?.data_type() else {
            return Err(Error::Internal {
                what: "vectors are not lists of fixed size",
            });
        };
        Ok(Self {
            name: table.to_string(),
            vector,
            dim: usize::try_from(*dim).unwrap_or(0),
            is_of_masks: table.is_of_masks(),
            is_of_extractors: table.embedder().is_none(),
            dataset,
        })
    }

    /// Number of rows, from metadata.
    pub async fn count(&self) -> Result<u64> {
        Ok(self.dataset.count_rows(None).await? as u64)
    }

    /// The index of the vectors, if it was made for the cosine.
    pub async fn index(&self) -> Result<Option<IndexStats>> {
        let indexes = indexes_of(&self.dataset, &self.name).await?;
        let mut fitting = indexes
            .into_iter()
            .filter(|index| index.column == self.vector && index.metric.as_deref() == Some(COSINE));
        Ok(fitting.next())
    }

    /// The vectors of the rows for which a condition holds, with their extractors. For conditions that few rows fulfil.
    pub async fn vectors_where(
        &self,
        condition: Expr,
    ) -> Result<Vec<(Vec<f32>, Option<ExtractorId>)>> {
        let mut scanner = self.dataset.scan();
        let mut columns = vec![self.vector];
        if self.is_of_masks {
            columns.push("extractor_id");
        }
        scanner.project(&columns)?.filter_expr(condition);
        let batches: Vec<RecordBatch> = scanner.try_into_stream().await?.try_collect().await?;
        let mut found = Vec::new();
        for batch in &batches {
            let column = vectors_in(batch, self.vector)?;
            let extractors = if self.is_of_masks {
                Some(texts(batch, "extractor_id")?)
            } else {
                None
            };
            for row in 0..batch.num_rows() {
                let numbers = match column.get(row) {
                    Some(EmbeddingRow::Half(halves)) => halves.iter().map(|x| x.to_f32()).collect(),
                    Some(EmbeddingRow::Single(singles)) => singles.to_vec(),
                    None => continue,
                };
                let id = extractors.map(|ids| ExtractorId::try_from(ids.value(row).to_owned()));
                found.push((numbers, id.transpose()?));
            }
        }
        Ok(found)
    }

    /// The ids of the nearest rows, the nearest first, by comparing every vector. Rows of equal similarity are in the
    /// order of the table.
    pub async fn exact(&self, sought: Arc<Sought>) -> Result<Vec<u64>> {
        let mut scanner = self.dataset.scan();
        scanner
            .project(&[self.vector])?
            .with_row_id()
            .scan_in_order(false)
            .batch_size((BATCH_BYTES / (2 * self.dim.max(1))).clamp(256, 8192));
        if let Some(filter) = &sought.filter {
            let style = self.style_for(filter).await?;
            scanner
                .filter_expr(filter.clone())
                .materialization_style(style);
        }
        let batches = scanner.try_into_stream().await?;
        let (vector, count) = (self.vector, sought.count);
        let compared = batches.map(move |batch| compare(batch, vector, sought.clone()));
        // Some are read while others are compared.
        let at_once = 2 * std::thread::available_parallelism().map_or(1, usize::from);
        let mut compared = pin!(compared.buffer_unordered(at_once));
        let mut best = Best::new(count);
        while let Some(found) = compared.next().await {
            best.merge(found?);
        }
        Ok(best.into_ids())
    }

    /// Whether vectors are read before or after a filter, by the number of rows that it leaves.
    async fn style_for(&self, filter: &Expr) -> Result<MaterializationStyle> {
        let mut scanner = self.dataset.scan();
        scanner.filter_expr(filter.clone());
        let left = scanner.count_rows().await?;
        if left.saturating_mul(FEW) < self.count().await? {
            Ok(MaterializationStyle::AllLate)
        } else {
            Ok(MaterializationStyle::AllEarly)
        }
    }

    /// The ids of rows that are probably the nearest, by the index: in so many of its partitions, and with so many
    /// candidates per row, of which the best are chosen by their own vectors.
    pub async fn by_index(&self, sought: &Sought, nprobes: usize, refine: u32) -> Result<Vec<u64>> {
        let key = Float32Array::from(sought.wanted.numbers().to_vec());
        let mut scanner = self.dataset.scan();
        scanner.prefilter(true);
        scanner
            .nearest(self.vector, &key, sought.count)?
            .nprobes(nprobes)
            .refine(refine)
            .distance_metric(cosine()?);
        if let Some(filter) = &sought.filter {
            scanner.filter_expr(filter.clone());
        }
        scanner
            .project(&["image_id"])?
            .with_row_id()
            .disable_scoring_autoprojection();
        let mut batches = scanner.try_into_stream().await?;
        let mut ids = Vec::new();
        while let Some(batch) = batches.try_next().await? {
            ids.extend_from_slice(numbers::<UInt64Type>(&batch, ROW_ID)?.values());
        }
        Ok(ids)
    }

    /// The rows of some ids with their similarities, the most similar first.
    pub async fn rows(&self, ids: &[u64], wanted: &Wanted) -> Result<Vec<Neighbour>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut columns = vec!["image_id", self.vector];
        if self.is_of_masks {
            columns.extend(["extractor_id", "mask_index"]);
        }
        let projection = ProjectionRequest::from_columns(columns, self.dataset.schema());
        let batch = self.dataset.take_rows(ids, projection).await?;
        let vectors = vectors_in(&batch, self.vector)?;
        let images = texts(&batch, "image_id")?;
        let masks = if self.is_of_masks {
            let extractors = texts(&batch, "extractor_id")?;
            Some((extractors, numbers::<Int32Type>(&batch, "mask_index")?))
        } else {
            None
        };
        let mut rows = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let similarity = vectors.get(row).and_then(|it| wanted.similarity(it));
            let Some(similarity) = similarity else {
                continue;
            };
            let extractor = masks.map(|(ids, _)| ExtractorId::try_from(ids.value(row).to_owned()));
            rows.push(Neighbour {
                extractor_id: extractor.transpose()?,
                image_id: ImageId::try_from(images.value(row).to_owned())?,
                mask_index: masks.map(|(_, indices)| indices.value(row)),
                similarity,
                distance: 1.0 - similarity,
            });
        }
        rows.sort_by(|a, b| {
            let by_similarity = b.similarity.total_cmp(&a.similarity);
            let by_image = by_similarity.then_with(|| a.image_id.cmp(&b.image_id));
            let by_mask = by_image.then_with(|| a.mask_index.cmp(&b.mask_index));
            by_mask.then_with(|| a.extractor_id.cmp(&b.extractor_id))
        });
        Ok(rows)
    }
}

/// The best rows of one batch.
async fn compare(
    batch: lance::Result<RecordBatch>,
    vector: &'static str,
    sought: Arc<Sought>,
) -> Result<Best> {
    let batch = batch?;
    blocking("comparing vectors", move || {
        let column = vectors_in(&batch, vector)?;
        let ids = numbers::<UInt64Type>(&batch, ROW_ID)?;
        Ok(sought.wanted.best_of(&column, ids.values(), sought.count))
    })
    .await
}

fn vectors_in(batch: &RecordBatch, name: &str) -> Result<EmbeddingColumn> {
    Ok(EmbeddingColumn::new(column(batch, name)?)?)
}
