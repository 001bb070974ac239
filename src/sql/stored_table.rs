//! A table of a store that is opened when a query first reads it: most queries name one or two of some twenty.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use lance::datafusion::LanceTableProvider;

use crate::schema::Table;
use crate::store::Snapshot;

/// One of the tables that every store has.
#[derive(Debug)]
pub(super) struct StoredTable {
    snapshot: Snapshot,
    table: Table,
    schema: SchemaRef,
}

impl StoredTable {
    pub fn new(snapshot: &Snapshot, table: Table) -> Self {
        Self {
            schema: snapshot.store().schema(table),
            snapshot: snapshot.clone(),
            table,
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
        let opened = self.snapshot.dataset(self.table).await;
        let dataset = opened.map_err(|err| DataFusionError::External(Box::new(err)))?;
        let provider = LanceTableProvider::new(dataset, false, false);
        provider.scan(state, projection, filters, limit).await
    }

    /// As of Lance's own provider.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Exact; filters.len()])
    }
}
