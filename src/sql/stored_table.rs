//! A table of a store that is opened when a query first reads it: most queries name one or two of some twenty.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use lance::datafusion::LanceTableProvider;

use super::engine::engine_of;
use super::scan::StoreScanExec;
use crate::schema::StoreTable;
use crate::store::Snapshot;

/// One of the tables of a store.
#[derive(Debug)]
pub(super) struct StoredTable {
    snapshot: Snapshot,
    table: StoreTable,
    schema: SchemaRef,
}

impl StoredTable {
    pub fn new(snapshot: &Snapshot, table: StoreTable, schema: SchemaRef) -> Self {
        Self {
            snapshot: snapshot.clone(),
            table,
            schema,
        }
    }
}

#[async_trait::async_trait]
impl TableProvider for StoredTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let only_counts = projection.is_some_and(Vec::is_empty) && filters.is_empty();
        if engine_of(state.config()).is_some() || only_counts {
            let schema = match projection {
                Some(columns) => Arc::new(self.schema.project(columns)?),
                None => self.schema.clone(),
            };
            let planned = StoreScanExec::plan(
                &self.snapshot,
                self.table.clone(),
                schema,
                filters,
                limit,
                state.config().target_partitions(),
            );
            return Ok(Arc::new(planned.await.map_err(external)?));
        }
        let opened = self.snapshot.dataset(self.table.clone()).await;
        let dataset = opened.map_err(external)?;
        let provider = LanceTableProvider::new(dataset, false, false);
        provider.scan(state, projection, filters, limit).await
    }

    /// As of Lance's own provider, but for an engine: what is evaluated elsewhere must be known there.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let has_engine = self.snapshot.store().engine().is_some();
        let pushed = filters.iter().map(|filter| {
            if has_engine && !StoreScanExec::can_evaluate(filter) {
                TableProviderFilterPushDown::Unsupported
            } else {
                TableProviderFilterPushDown::Exact
            }
        });
        Ok(pushed.collect())
    }
}

fn external(err: crate::Error) -> DataFusionError {
    DataFusionError::External(Box::new(err))
}
