//! A DataFusion session over one snapshot.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{MemoryCatalogProviderList, MemorySchemaProvider, TableFunctionImpl};
use datafusion::common::{ScalarValue, TableReference};
use datafusion::datasource::{MemTable, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::ScalarUDF;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext, col, lit};
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt};
use lance::datafusion::LanceTableProvider;

use super::dot_access::name_fields;
use super::engine::{Engine, engine_of};
use super::functions;
use super::stored_table::StoredTable;
use crate::error::sql_reason;
use crate::schema::{EMBEDDER_KEY, StoreTable, Table, VectorTable};
use crate::store::Snapshot;
use crate::{Error, Result};

/// Views of the keys of all vectors, whichever embedder they are of.
const VECTOR_KEYS: [(VectorTable, &str); 2] = [
    (VectorTable::Masks, "vector_keys"),
    (VectorTable::Images, "image_vector_keys"),
];

/// Runs queries over one snapshot of a store. It can be shared, because a query leaves nothing behind.
pub struct Sql {
    pub(super) context: SessionContext,
    pub(super) tables: Vec<(TableReference, Arc<dyn TableProvider>)>,
}

impl Sql {
    /// Registers the snapshot's tables under their names, those of an embedder as `vectors.NAME` and
    /// `image_vectors.NAME`, the keys of all vectors as `vector_keys` and `image_vector_keys`, and the SQL [`functions`].
    ///
    /// # Errors
    /// If a table cannot be opened.
    pub async fn new(snapshot: &Snapshot) -> Result<Self> {
        Self::with_runtime(snapshot, RuntimeEnvBuilder::new()).await
    }

    /// Like [`Sql::new`], but queries that need more memory than the limit, in bytes, fail.
    ///
    /// # Errors
    /// As [`Sql::new`].
    pub async fn with_memory_limit(snapshot: &Snapshot, bytes: usize) -> Result<Self> {
        let limited = RuntimeEnvBuilder::new().with_memory_limit(bytes, 1.0);
        Self::with_runtime(snapshot, limited).await
    }

    async fn with_runtime(snapshot: &Snapshot, runtime: RuntimeEnvBuilder) -> Result<Self> {
        let config = match snapshot.store().engine() {
            Some(engine) => engine
                .config()
                .with_extension(Arc::new(Engine(engine.clone()))),
            None => SessionConfig::new(),
        };
        let config = config.with_information_schema(true);
        let context = SessionContext::new_with_config_rt(config, runtime.build_arc()?);
        let mut tables: Vec<(TableReference, Arc<dyn TableProvider>)> = Vec::new();
        for table in Table::ALL {
            let provider = Arc::new(StoredTable::new(
                snapshot,
                table.into(),
                snapshot.store().schema(table),
            ));
            tables.push((TableReference::bare(table.name()), provider));
        }
        // How long vectors are is known only of an open table.
        let vectors = snapshot.vector_tables().await?;
        let opening = vectors.into_iter().map(|(name, table)| async move {
            let StoreTable::Vectors(kind, _) = &table else {
                return Ok(None);
            };
            let name = TableReference::partial(kind.name(), name);
            let dataset = snapshot.dataset(table.clone()).await?;
            let schema = Schema::from(dataset.schema());
            let provider = StoredTable::new(snapshot, table, Arc::new(schema));
            Ok::<_, Error>(Some((name, Arc::new(provider) as Arc<dyn TableProvider>)))
        });
        tables.extend(try_join_all(opening).await?.into_iter().flatten());
        register(&context, &tables)?;
        for (kind, view) in VECTOR_KEYS {
            let name = TableReference::bare(view);
            let provider = keys_of_vectors(&context, &tables, kind).await?;
            context.register_table(name.clone(), provider.clone())?;
            tables.push((name, provider));
        }
        functions::register(&context);
        Ok(Self { context, tables })
    }

    /// Registers a function for the queries that follow.
    pub fn register_function(&self, function: ScalarUDF) {
        self.context.register_udf(function);
    }

    /// Registers a function that yields a table for the queries that follow.
    pub fn register_table_function(&self, name: &str, function: Arc<dyn TableFunctionImpl>) {
        self.context.register_udtf(name, function);
    }

    /// Runs one query.
    ///
    /// # Examples
    /// ```
    /// use grainstore::Error;
    /// use grainstore::sql::Sql;
    /// # use grainstore::store::{Store, StoreOptions};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let place = dir.path().to_str().unwrap();
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let store = Store::open_or_create(place, StoreOptions::default()).await?;
    /// let sql = Sql::new(&store.snapshot().await?).await?;
    /// let rows = sql.query("SELECT count(*) AS masks, avg(rle_area(rle)) AS pixels FROM masks").await?;
    /// let batches = rows.collect().await?;
    /// assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 1);
    ///
    /// let refused = sql.query("DELETE FROM masks").await;
    /// assert!(matches!(refused, Err(Error::ReadOnlySql { .. })));
    /// # Ok::<(), grainstore::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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

    /// Makes rows in memory a table of the queries that follow, in place of an earlier one of the name.
    pub(crate) fn replace_rows(&self, name: &str, rows: RecordBatch) -> Result<()> {
        self.context.deregister_table(name)?;
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]])?;
        self.context.register_table(name, Arc::new(table))?;
        Ok(())
    }

    /// Gives a table a last column `_rowid` in the queries that follow. A table of vectors has the name of its embedder.
    pub(crate) async fn add_row_ids(
        &self,
        snapshot: &Snapshot,
        table: StoreTable,
        embedder: Option<&str>,
    ) -> Result<()> {
        let name = match (&table, embedder) {
            (StoreTable::Vectors(kind, _), Some(name)) => {
                TableReference::partial(kind.name(), name)
            }
            (table, _) => TableReference::bare(table.path()),
        };
        let dataset = snapshot.dataset(table).await?;
        self.context.deregister_table(name.clone())?;
        let provider = Arc::new(LanceTableProvider::new(dataset, true, false));
        self.context.register_table(name, provider)?;
        Ok(())
    }

    /// Plans a query without running it, so that the caller can build on it.
    pub(crate) async fn frame(&self, sql: &str) -> Result<DataFrame> {
        plan(&self.context, sql, HashMap::new()).await
    }

    /// Reads some columns of a table, for the rows that satisfy a condition in SQL.
    ///
    /// # Errors
    /// [`Error::DataFusion`] if the condition is not an expression over the table's columns.
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

    /// A session with the same tables and functions, to which the caller can add tables of its own.
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
        let tables = Arc::new(MemorySchemaProvider::new());
        datafusion::catalog::CatalogProvider::register_schema(&own, &schema, tables)?;
        let context = SessionContext::new_with_state(state);
        context.register_catalog(name, Arc::new(own));
        register(&context, &self.tables)?;
        Ok(context)
    }
}

/// Registers tables in the default catalogue of a session, with a schema for each kind of vectors.
fn register(
    context: &SessionContext,
    tables: &[(TableReference, Arc<dyn TableProvider>)],
) -> Result<()> {
    let name = context
        .state()
        .config_options()
        .catalog
        .default_catalog
        .clone();
    if let Some(catalog) = context.catalog(&name) {
        for kind in VectorTable::ALL {
            catalog.register_schema(kind.name(), Arc::new(MemorySchemaProvider::new()))?;
        }
    }
    for (name, table) in tables {
        context.register_table(name.clone(), table.clone())?;
    }
    Ok(())
}

/// The keys of the vectors of all embedders, as a view: `embedder_id` and the key's columns.
async fn keys_of_vectors(
    context: &SessionContext,
    tables: &[(TableReference, Arc<dyn TableProvider>)],
    kind: VectorTable,
) -> Result<Arc<dyn TableProvider>> {
    let key = kind.definition(1)?.key;
    let mut all: Option<DataFrame> = None;
    for (name, provider) in tables {
        if name.schema() != Some(kind.name()) {
            continue;
        }
        let schema = provider.schema();
        let vector = schema.field_with_name("vector")?;
        let embedder_id = vector.metadata().get(EMBEDDER_KEY);
        let embedder_id = embedder_id.map_or("", String::as_str);
        let mut columns = vec![lit(embedder_id).alias("embedder_id")];
        columns.extend(key.iter().map(col));
        let keys = context.table(name.clone()).await?.select(columns)?;
        all = Some(match all {
            Some(others) => others.union(keys)?,
            None => keys,
        });
    }
    if let Some(all) = all {
        return Ok(all.into_view());
    }
    let definition = kind.definition(1)?;
    let of_key = |name: &String| definition.schema.field_with_name(name).cloned();
    let mut fields = vec![Field::new("embedder_id", DataType::Utf8, false)];
    for name in &key {
        fields.push(of_key(name)?);
    }
    let schema = Arc::new(Schema::new(fields));
    Ok(Arc::new(MemTable::try_new(schema, vec![Vec::new()])?))
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
    // It changes nothing, so there is nothing for the session to carry out first.
    let mut frame = DataFrame::new(state, plan);
    if !values.is_empty() {
        frame = frame.with_param_values(values)?;
    }
    Ok(frame)
}

/// The rows of a query, as a stream of batches.
pub struct Rows {
    stream: SendableRecordBatchStream,
}

impl Rows {
    pub(crate) async fn of(frame: DataFrame) -> Result<Self> {
        let context = Arc::new(frame.task_ctx());
        let plan = frame.create_physical_plan().await?;
        let stream = match run_elsewhere(&plan, &context).await? {
            Some(stream) => stream,
            None => execute_stream(plan, context)?,
        };
        Ok(Self { stream })
    }

    /// The columns of the result.
    pub fn schema(&self) -> SchemaRef {
        self.stream.schema()
    }

    /// The next batch of rows, or `None` at the end.
    ///
    /// # Errors
    /// Any error while the query runs.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let batch = self.stream.next().await.transpose();
        batch.map_err(|err: DataFusionError| Error::from(err))
    }

    /// Reads every row into memory. Use it only for queries whose result is bounded.
    ///
    /// # Errors
    /// Any error while the query runs.
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        Ok(self.stream.try_collect().await?)
    }
}

/// Has a plan run by the engine of its session; `None` if there is none, or if it leaves the plan to this process.
pub(crate) async fn run_elsewhere(
    plan: &Arc<dyn ExecutionPlan>,
    context: &TaskContext,
) -> Result<Option<SendableRecordBatchStream>> {
    match engine_of(context.session_config()) {
        Some(engine) => engine.rows(plan.clone()).await,
        None => Ok(None),
    }
}
