//! A search as a table of SQL: names are resolved when the query is planned, so that `EXPLAIN` tells how it will be
//! searched; the search runs when the rows are read.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};

use super::request::{NearestRequest, Neighbour, Search, SearchQuery, SearchedTable, SearchedWith};
use super::search::{nearest, plan};
use super::texts::TextVectors;
use crate::catalogue::{find_embedder, find_image};
use crate::ids::ExtractorId;
use crate::store::Snapshot;
use crate::store::rows::EmbedderRow;
use crate::task::blocking;
use crate::{Error, Result};

/// What a call of a table function asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Asked {
    /// A mask, or without an index an image, by its file name or the first digits of its id.
    Mask {
        table: SearchedTable,
        image: String,
        mask_index: Option<i32>,
    },
    /// A vector.
    Vector {
        table: SearchedTable,
        numbers: Vec<f32>,
    },
    /// A text, in the space of an embedder: its name, or that of its table.
    Text { name: String, text: String },
}

/// A call of a table function.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    pub asked: Asked,
    pub count: usize,
    pub search: Search,
}

/// The rows that a call finds.
#[derive(Debug)]
pub(super) struct NearestTable {
    pub snapshot: Snapshot,
    pub texts: Option<Arc<dyn TextVectors>>,
    pub call: Call,
}

/// A call whose names are resolved.
#[derive(Debug)]
struct Prepared {
    request: NearestRequest,
    /// The text whose vector the request still lacks.
    text: Option<TextQuery>,
    searched: SearchedWith,
}

#[derive(Debug)]
struct TextQuery {
    embedder: EmbedderRow,
    text: String,
    texts: Arc<dyn TextVectors>,
}

impl NearestTable {
    async fn prepare(&self) -> Result<Prepared> {
        let snapshot = &self.snapshot;
        let mut text = None;
        let (table, query) = match &self.call.asked {
            Asked::Mask {
                table,
                image,
                mask_index,
            } => {
                let image = find_image(snapshot, image).await?;
                let query = match *mask_index {
                    Some(mask_index) => SearchQuery::Mask {
                        image,
                        extractor: None,
                        mask_index,
                    },
                    None => SearchQuery::Image { image },
                };
                (table.clone(), query)
            }
            Asked::Vector { table, numbers } => {
                (table.clone(), SearchQuery::Vector(numbers.clone()))
            }
            Asked::Text { name, text: words } => {
                let named = name.parse::<SearchedTable>().ok();
                let of = named.as_ref().and_then(SearchedTable::embedder);
                let embedder = find_embedder(snapshot, of.unwrap_or(name)).await?;
                let table =
                    named.unwrap_or_else(|| SearchedTable::of_embedder(snapshot, &embedder));
                text = Some(self.text_query(embedder, words)?);
                (table, SearchQuery::Vector(Vec::new()))
            }
        };
        let mut request = NearestRequest::new(table, query);
        request.count = self.call.count;
        request.search = self.call.search;
        Ok(Prepared {
            searched: plan(snapshot, &request).await?,
            request,
            text,
        })
    }

    fn text_query(&self, embedder: EmbedderRow, text: &str) -> Result<TextQuery> {
        let texts = self.texts.clone().ok_or_else(|| Error::MissingOption {
            option: "checkpoint",
            expected: format!(
                "the CLIP that embedder '{}' was made with, '{}'",
                embedder.embedder, embedder.checkpoint
            ),
        })?;
        Ok(TextQuery {
            embedder,
            text: text.to_owned(),
            texts,
        })
    }
}

impl Prepared {
    async fn run(&self, snapshot: &Snapshot) -> Result<Vec<Neighbour>> {
        let mut request = self.request.clone();
        if let Some(TextQuery {
            embedder,
            text,
            texts,
        }) = &self.text
        {
            let (embedder, text, texts) = (embedder.clone(), text.clone(), texts.clone());
            let numbers = blocking("embedding a text", move || texts.vector(&embedder, &text));
            request.query = SearchQuery::Vector(numbers.await?);
        }
        Ok(nearest(snapshot, &request).await?.rows)
    }
}

#[async_trait]
impl TableProvider for NearestTable {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    /// Filters are not pushed down: they apply to the rows that were found.
    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let prepared = self.prepare().await.map_err(to_datafusion)?;
        let schema = match projection {
            Some(columns) => Arc::new(schema().project(columns)?),
            None => schema(),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Ok(Arc::new(NearestExec {
            snapshot: self.snapshot.clone(),
            prepared: Arc::new(prepared),
            projection: projection.cloned(),
            schema,
            properties: Arc::new(properties),
        }))
    }
}

/// The plan of a search.
#[derive(Debug)]
struct NearestExec {
    snapshot: Snapshot,
    prepared: Arc<Prepared>,
    projection: Option<Vec<usize>>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for NearestExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Prepared {
            request, searched, ..
        } = self.prepared.as_ref();
        let (table, count) = (&request.table, request.count);
        match format {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "NearestExec: table={table}, count={count}, {searched}")
            }
            DisplayFormatType::TreeRender => write!(f, "table={table}\ncount={count}\n{searched}"),
        }
    }
}

impl ExecutionPlan for NearestExec {
    fn name(&self) -> &str {
        "NearestExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        Ok(self)
    }

    fn execute(
        &self,
        _: usize,
        _: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream, DataFusionError> {
        let (snapshot, prepared) = (self.snapshot.clone(), self.prepared.clone());
        let rows = batch_of(snapshot, prepared, self.projection.clone());
        let stream = futures::stream::once(rows);
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema.clone(),
            stream,
        )))
    }
}

/// Runs a search; yields the columns that are read.
async fn batch_of(
    snapshot: Snapshot,
    prepared: Arc<Prepared>,
    columns: Option<Vec<usize>>,
) -> Result<RecordBatch, DataFusionError> {
    let found = prepared.run(&snapshot).await.map_err(to_datafusion)?;
    let batch = to_batch(&found)?;
    match columns {
        Some(columns) => Ok(batch.project(&columns)?),
        None => Ok(batch),
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("extractor_id", DataType::Utf8, true),
        Field::new("image_id", DataType::Utf8, false),
        Field::new("mask_index", DataType::Int32, true),
        Field::new("similarity", DataType::Float32, false),
        Field::new("distance", DataType::Float32, false),
    ]))
}

fn to_batch(rows: &[Neighbour]) -> Result<RecordBatch, DataFusionError> {
    let extractors = rows
        .iter()
        .map(|row| row.extractor_id.as_ref().map(ExtractorId::as_str));
    let images = rows.iter().map(|row| row.image_id.as_str());
    let indices = rows.iter().map(|row| row.mask_index);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(extractors.collect::<StringArray>()),
        Arc::new(StringArray::from_iter_values(images)),
        Arc::new(indices.collect::<Int32Array>()),
        Arc::new(Float32Array::from_iter_values(
            rows.iter().map(|row| row.similarity),
        )),
        Arc::new(Float32Array::from_iter_values(
            rows.iter().map(|row| row.distance),
        )),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

/// An error as DataFusion passes it on.
fn to_datafusion(err: Error) -> DataFusionError {
    match err {
        Error::DataFusion(err) => err,
        err => DataFusionError::External(Box::new(err)),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;

    use super::*;
    use crate::ids::ImageId;

    #[test]
    fn rows_of_images_have_no_mask() {
        let image_id = ImageId::of_bytes(b"photo");
        let of_mask = Neighbour {
            extractor_id: Some(ExtractorId::of_bytes(b"model")),
            image_id: image_id.clone(),
            mask_index: Some(3),
            similarity: 0.75,
            distance: 0.25,
        };
        let of_image = Neighbour {
            extractor_id: None,
            mask_index: None,
            ..of_mask.clone()
        };
        let batch = to_batch(&[of_mask, of_image]).unwrap();
        let nulls: Vec<usize> = batch.columns().iter().map(|it| it.null_count()).collect();
        assert_eq!(nulls, [1, 0, 1, 0, 0]);
        assert_eq!(to_batch(&[]).unwrap().num_rows(), 0);
    }
}
