//! A DataFusion session over one snapshot.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::MemoryCatalogProviderList;
use datafusion::common::ScalarValue;
use datafusion::datasource::TableProvider;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use futures::{StreamExt, TryStreamExt};
use lance::datafusion::LanceTableProvider;

use super::dot_access::name_fields;
use super::functions;
use crate::error::sql_reason;
use crate::schema::Table;
use crate::store::Snapshot;
use crate::{Error, Result};

/// Runs queries over one snapshot of a store. May be shared: a query leaves nothing behind.
pub struct Sql {
    context: SessionContext,
    tables: Vec<(&'static str, Arc<dyn TableProvider>)>,
}

impl Sql {
    /// Registers the snapshot's tables under their names, and the `rle_*` functions.
    ///
    /// # Errors
    /// If a table cannot be opened.
    pub async fn new(snapshot: &Snapshot) -> Result<Self> {
        let config = SessionConfig::new().with_information_schema(true);
        let context = SessionContext::new_with_config(config);
        let mut tables: Vec<(&'static str, Arc<dyn TableProvider>)> = Vec::new();
        for table in Table::ALL {
            let dataset = snapshot.dataset(table).await?;
            let provider = Arc::new(LanceTableProvider::new(dataset, false, false));
            context.register_table(table.name(), provider.clone())?;
            tables.push((table.name(), provider));
        }
        functions::register(&context);
        Ok(Self { context, tables })
    }

    /// Makes a function known to the queries that follow.
    pub fn register_function(&self, function: ScalarUDF) {
        self.context.register_udf(function);
    }

    /// Runs one query.
    ///
    /// # Errors
    /// [`Error::ReadOnlySql`] for statements that would change something, [`Error::DataFusion`] for
    /// SQL that cannot be planned.
    pub async fn query(&self, sql: &str) -> Result<Rows> {
        self.query_with(sql, HashMap::new()).await
    }

    /// Runs one query with values for its parameters, `$name`.
    ///
    /// # Errors
    /// As [`Sql::query`].
    pub async fn query_with(
        &self,
        sql: &str,
        values: HashMap<String, ScalarValue>,
    ) -> Result<Rows> {
        Rows::of(plan(&self.context, sql, values).await?).await
    }

    /// A query that is planned and not run, to build on.
    pub(crate) async fn frame(&self, sql: &str) -> Result<DataFrame> {
        plan(&self.context, sql, HashMap::new()).await
    }

    /// Some columns of the rows of a table for which a condition in SQL holds.
    ///
    /// # Errors
    /// [`Error::DataFusion`] for a condition that is no expression over the table's columns.
    pub async fn select(
        &self,
        table: Table,
        columns: &[&str],
        condition: Option<&str>,
    ) -> Result<Rows> {
        let mut frame = self.context.table(table.name()).await?;
        if let Some(condition) = condition {
            let condition = self.context.parse_sql_expr(condition, frame.schema())?;
            frame = frame.filter(condition)?;
        }
        Rows::of(frame.select_columns(columns)?).await
    }

    /// A session with the same tables and functions and room for tables of its own.
    pub(crate) fn fork(&self) -> Result<SessionContext> {
        let state = SessionStateBuilder::new_from_existing(self.context.state())
            .with_catalog_list(Arc::new(MemoryCatalogProviderList::new()))
            .build();
        let catalog = &state.config_options().catalog;
        let (name, schema) = (
            catalog.default_catalog.clone(),
            catalog.default_schema.clone(),
        );
        let own = datafusion::catalog::MemoryCatalogProvider::new();
        let tables = Arc::new(datafusion::catalog::MemorySchemaProvider::new());
        datafusion::catalog::CatalogProvider::register_schema(&own, &schema, tables)?;
        let context = SessionContext::new_with_state(state);
        context.register_catalog(name, Arc::new(own));
        for (name, table) in &self.tables {
            context.register_table(*name, table.clone())?;
        }
        Ok(context)
    }
}

/// Plans a query that only reads.
pub(crate) async fn plan(
    context: &SessionContext,
    sql: &str,
    values: HashMap<String, ScalarValue>,
) -> Result<DataFrame> {
    let options = SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false);
    let state = context.state();
    let mut statement = state.sql_to_statement(sql, &state.config_options().sql_parser.dialect)?;
    name_fields(&mut statement);
    let plan = state.statement_to_plan(statement).await?;
    options
        .verify_plan(&plan)
        .map_err(|err| Error::ReadOnlySql {
            reason: sql_reason(&err),
        })?;
    let mut frame = context.execute_logical_plan(plan).await?;
    if !values.is_empty() {
        frame = frame.with_param_values(values)?;
    }
    Ok(frame)
}

/// The rows of a query, as they come.
pub struct Rows {
    stream: SendableRecordBatchStream,
}

impl Rows {
    pub(crate) async fn of(frame: DataFrame) -> Result<Self> {
        let stream = frame.execute_stream().await?;
        Ok(Self { stream })
    }

    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        self.stream.schema()
    }

    /// The next rows, or none at the end.
    ///
    /// # Errors
    /// What goes wrong while the query runs.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let batch = self.stream.next().await.transpose();
        batch.map_err(|err: DataFusionError| Error::from(err))
    }

    /// Every row, in memory: for queries whose result has a bound.
    ///
    /// # Errors
    /// What goes wrong while the query runs.
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        Ok(self.stream.try_collect().await?)
    }
}
