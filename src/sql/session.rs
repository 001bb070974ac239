//! A DataFusion session over one snapshot.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::{JoinType, ScalarValue};
use datafusion::datasource::{MemTable, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SQLOptions;
use datafusion::functions::expr_fn::coalesce;
use datafusion::logical_expr::{cast, lit};
use datafusion::physical_plan::collect_partitioned;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
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
    /// Tables that stand for a report whatever its parameters.
    fixed: HashSet<String>,
    /// Tables that stand for a report with parameters.
    made: Mutex<HashMap<String, Made>>,
}

/// A report's name, and its parameters.
type Made = (String, HashMap<String, ScalarValue>);

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
        Ok(Self {
            context,
            fixed: HashSet::new(),
            made: Mutex::default(),
        })
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
        self.make_used(report, parameters).await?;
        self.run(report.sql(), values).await
    }

    /// Makes the rows of a report the table that reports using it read from then on, whatever their parameters; of
    /// these only the rows whose `key` is that of a row of `table` for which a condition holds, if one is given.
    ///
    /// # Errors
    /// As [`Sql::report`]; [`Error::DataFusion`] for a condition that is no expression over that table.
    pub async fn fix(
        &mut self,
        report: &Report,
        parameters: &HashMap<String, String>,
        condition: Option<(Table, &str, &str)>,
    ) -> Result<()> {
        self.fixed.remove(report.short_name());
        self.made().clear();
        let values = report.bind(parameters)?;
        self.make_used(report, parameters).await?;
        let mut rows = self.plan(report.sql(), values).await?;
        if let Some((table, key, condition)) = condition {
            let chosen = self.context.table(table.name()).await?;
            let condition = self.context.parse_sql_expr(condition, chosen.schema())?;
            let chosen = chosen.filter(condition)?.select_columns(&[key])?;
            rows = rows.join(chosen, JoinType::LeftSemi, &[key], &[key], None)?;
        }
        self.register(report.short_name(), in_memory(rows).await?)?;
        self.fixed.insert(report.short_name().to_owned());
        Ok(())
    }

    /// The different values, as text and in order, that an expression over the columns of a table has in the rows whose
    /// key is also in another table; `NULL` for null.
    ///
    /// # Errors
    /// [`Error::DataFusion`] for what is no expression over that table.
    pub async fn values(
        &self,
        table: Table,
        expression: &str,
        (other, key): (&str, &str),
    ) -> Result<Vec<String>> {
        let rows = self.context.table(table.name()).await?;
        let value = self.context.parse_sql_expr(expression, rows.schema())?;
        let value = coalesce(vec![cast(value, DataType::Utf8), lit("NULL")]).alias("value");
        let chosen = self.context.table(other).await?;
        let rows = rows.join(chosen, JoinType::LeftSemi, &[key], &[key], None)?;
        let rows = rows.select(vec![value])?.distinct()?;
        let mut values = Vec::new();
        for batch in rows.collect().await? {
            let column = arrow::compute::cast(batch.column(0), &DataType::Utf8)?;
            let texts = column.as_string::<i32>().iter().flatten();
            values.extend(texts.map(str::to_owned));
        }
        values.sort();
        Ok(values)
    }

    /// Makes the reports that a report uses tables, and those that they use before them.
    ///
    /// What was made with the same parameters before is not made again: the snapshot does not change.
    fn make_used<'a>(
        &'a self,
        report: &'a Report,
        parameters: &'a HashMap<String, String>,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            for used in report.uses() {
                if self.fixed.contains(&used.table) {
                    continue;
                }
                let base = Report::named(&used.report)?;
                let mut own = HashMap::new();
                for parameter in base.parameters() {
                    let renamed = used
                        .renamed
                        .iter()
                        .find(|(name, _)| *name == parameter.name);
                    let name = renamed.map_or(&parameter.name, |(_, other)| other);
                    if let Some(value) = parameters.get(name) {
                        own.insert(parameter.name.clone(), value.clone());
                    }
                }
                let values = base.bind(&own)?;
                let made = (base.name().to_owned(), values.clone());
                if self.made().get(&used.table) == Some(&made) {
                    continue;
                }
                self.make_used(&base, &own).await?;
                let rows = self.plan(base.sql(), values).await?;
                let table = match base.is_view() {
                    true => rows.into_view(),
                    false => in_memory(rows).await?,
                };
                self.register(&used.table, table)?;
                self.made().insert(used.table.clone(), made);
            }
            Ok(())
        }
        .boxed()
    }

    fn register(&self, name: &str, table: Arc<dyn TableProvider>) -> Result<()> {
        self.context.deregister_table(name)?;
        self.context.register_table(name, table)?;
        Ok(())
    }

    fn made(&self) -> MutexGuard<'_, HashMap<String, Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
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
        let frame = self.plan(sql, parameters).await?;
        let stream = frame.execute_stream().await?;
        Ok(Rows { stream })
    }

    async fn plan(&self, sql: &str, parameters: HashMap<String, ScalarValue>) -> Result<DataFrame> {
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
        Ok(frame)
    }
}

async fn in_memory(rows: DataFrame) -> Result<Arc<dyn TableProvider>> {
    let task = Arc::new(rows.task_ctx());
    let plan = rows.create_physical_plan().await?;
    // What the planner knows of nulls differs between the stages of a plan.
    let fields = plan.schema().fields().clone();
    let fields = fields
        .iter()
        .map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut partitions = collect_partitioned(plan, task).await?;
    for batch in partitions.iter_mut().flatten() {
        *batch = RecordBatch::try_new(schema.clone(), batch.columns().to_vec())?;
    }
    Ok(Arc::new(MemTable::try_new(schema, partitions)?))
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
