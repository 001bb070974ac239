//! A DataFusion session over one snapshot.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::{StreamExt, TryStreamExt};
use lance::datafusion::LanceTableProvider;

use super::fields::name_fields;
use super::functions;
use super::report::Report;
use crate::error::sql_reason;
use crate::schema::Table;
use crate::store::Snapshot;
use crate::{Error, Result};

/// Runs queries over one snapshot of a store.
pub struct Sql {
    context: SessionContext,
}

impl Sql {
    /// Registers the snapshot's tables under their names, and the `rle_*` functions.
    ///
    /// # Errors
    /// If a table cannot be opened.
    pub async fn new(snapshot: &Snapshot) -> Result<Self> {
        let config = SessionConfig::new().with_information_schema(true);
        let context = SessionContext::new_with_config(config);
        for table in Table::ALL {
            let dataset = snapshot.dataset(table).await?;
            let provider = LanceTableProvider::new(dataset, false, false);
            context.register_table(table.name(), Arc::new(provider))?;
        }
        functions::register(&context);
        Ok(Self { context })
    }

    /// Makes a function known to the queries that follow.
    pub fn register_function(&self, function: datafusion::logical_expr::ScalarUDF) {
        self.context.register_udf(function);
    }

    /// Runs one query.
    ///
    /// # Errors
    /// [`Error::ReadOnlySql`] for statements that would change something, [`Error::DataFusion`] for
    /// SQL that cannot be planned.
    pub async fn query(&self, sql: &str) -> Result<Rows> {
        self.run(sql, HashMap::new()).await
    }

    /// Runs a report with parameters by name; those left out take their defaults.
    ///
    /// # Errors
    /// [`Error::Query`] for parameters it does not take or that do not fit, and as [`Sql::query`].
    pub async fn report(
        &self,
        report: &Report,
        parameters: &HashMap<String, String>,
    ) -> Result<Rows> {
        let values = report.bind(parameters)?;
        self.run(report.sql(), values).await
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
        let stream = frame.select_columns(columns)?.execute_stream().await?;
        Ok(Rows { stream })
    }

    async fn run(&self, sql: &str, parameters: HashMap<String, ScalarValue>) -> Result<Rows> {
        let options = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        let state = self.context.state();
        let mut statement =
            state.sql_to_statement(sql, &state.config_options().sql_parser.dialect)?;
        name_fields(&mut statement);
        let plan = state.statement_to_plan(statement).await?;
        options
            .verify_plan(&plan)
            .map_err(|err| Error::ReadOnlySql {
                reason: sql_reason(&err),
            })?;
        let mut frame = self.context.execute_logical_plan(plan).await?;
        if !parameters.is_empty() {
            frame = frame.with_param_values(parameters)?;
        }
        let stream = frame.execute_stream().await?;
        Ok(Rows { stream })
    }
}

/// The rows of a query, as they come.
pub struct Rows {
    stream: SendableRecordBatchStream,
}

impl Rows {
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
