//! Running queries over one snapshot, with the queries that they build on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::{JoinType, ScalarValue};
use datafusion::datasource::{MemTable, TableProvider};
use datafusion::functions::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, cast, lit};
use datafusion::physical_plan::collect_partitioned;
use datafusion::prelude::{DataFrame, SessionContext};
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};

use super::header::{Query, Used};
use super::parameter::Bound;
use crate::schema::Table;
use crate::sql::{Rows, Sql, plan, run_elsewhere};
use crate::store::Snapshot;
use crate::{Error, Result};

/// A session in which named queries run. It can be shared: each run has its own tables, and the tables that queries
/// build on are kept for the next run with the same parameters.
pub struct QuerySession {
    snapshot: Snapshot,
    sql: Sql,
    /// Tables that replace a query, whatever its parameters, by the query's short name.
    pinned: HashMap<String, Arc<dyn TableProvider>>,
    /// Rows that queries build on, by the name of their table.
    made: Mutex<HashMap<String, Made>>,
    resolved: Mutex<HashMap<Word, ScalarValue>>,
}

/// The rows of a query that others build on.
#[derive(Clone)]
struct Made {
    query: String,
    bound: Bound,
    table: Arc<dyn TableProvider>,
}

/// What a value was resolved from: the type of the parameter, the value that it depends on, and the word.
type Word = (String, Option<String>, String);

/// Rows of a table, chosen by conditions on its columns.
#[derive(Debug, Clone, Copy)]
pub struct Chosen<'a> {
    /// The table.
    pub table: Table,
    /// The column by which rows of a query belong to rows of the table.
    pub key: &'a str,
    /// A condition in SQL that the rows must satisfy.
    pub condition: Option<&'a str>,
    /// An expression in SQL, and the text that its value must equal; `NULL` for null.
    pub equals: Option<(&'a str, &'a str)>,
}

impl QuerySession {
    /// A session over a snapshot.
    ///
    /// # Errors
    /// If a table cannot be opened.
    pub async fn new(snapshot: &Snapshot) -> Result<Self> {
        Ok(Self {
            snapshot: snapshot.clone(),
            sql: Sql::new(snapshot).await?,
            pinned: HashMap::new(),
            made: Mutex::default(),
            resolved: Mutex::default(),
        })
    }

    /// The tables and functions that queries see.
    pub fn sql(&self) -> &Sql {
        &self.sql
    }

    /// Runs a query with words for its parameters; parameters left out take their defaults.
    ///
    /// # Examples
    /// ```
    /// use std::collections::HashMap;
    ///
    /// use grainstore::query::{Query, QuerySession};
    /// # use grainstore::store::{Store, StoreOptions};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let place = dir.path().to_str().unwrap();
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let store = Store::open_or_create(place, StoreOptions::default()).await?;
    /// let session = QuerySession::new(&store.snapshot().await?).await?;
    /// let query = Query::named("review/labels")?;
    /// let rows = session.run(&query, &HashMap::new()).await?;
    /// assert_eq!(rows.schema().field(1).name(), "label");
    /// assert!(rows.collect().await?.iter().all(|batch| batch.num_rows() == 0)); // the store is empty
    ///
    /// // A name that is not there is an error.
    /// let words = HashMap::from([("dataset".to_owned(), "pets".to_owned())]);
    /// assert!(session.run(&query, &words).await.is_err());
    /// # Ok::<(), grainstore::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Query`] for unknown or missing parameters and words of another type; [`Error::Catalogue`] for unknown
    /// names; otherwise as [`Sql::query`].
    pub async fn run(&self, query: &Query, words: &HashMap<String, String>) -> Result<Rows> {
        let bound = self.bind(query, words).await?;
        self.run_bound(query, bound).await
    }

    /// Like [`QuerySession::run`], with values for all parameters.
    ///
    /// # Errors
    /// As [`QuerySession::run`].
    pub(crate) async fn run_bound(&self, query: &Query, bound: Bound) -> Result<Rows> {
        let context = self.prepare(query, &bound).await?;
        Rows::of(plan(&context, query.sql(), bound).await?).await
    }

    /// Resolves words to values, for every parameter of a query.
    ///
    /// # Errors
    /// As [`QuerySession::run`].
    pub async fn bind(&self, query: &Query, words: &HashMap<String, String>) -> Result<Bound> {
        let fail = |reason: String| Error::Query {
            query: query.name().to_owned(),
            reason,
        };
        let parameters = query.parameters();
        if let Some(unknown) = words
            .keys()
            .find(|key| parameters.iter().all(|p| p.name != **key))
        {
            let takes: Vec<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
            let takes = if takes.is_empty() {
                "none".to_owned()
            } else {
                takes.join(", ")
            };
            return Err(fail(format!(
                "there is no parameter '{unknown}'; it takes {takes}"
            )));
        }
        // Parameters that others depend on come first.
        let (first, then): (Vec<_>, Vec<_>) = parameters
            .iter()
            .partition(|parameter| parameter.kind.depends_on().is_none());
        let mut bound = Bound::new();
        for parameter in first.into_iter().chain(then) {
            let name = &parameter.name;
            let word = words.get(name).or(parameter.default.as_ref());
            let word = word.ok_or_else(|| Error::MissingParameter {
                query: query.name().to_owned(),
                parameter: name.clone(),
            })?;
            let dependency = parameter.kind.depends_on().and_then(|it| bound.get(it));
            let key = (
                parameter.kind.describe(),
                dependency.map(ToString::to_string),
                word.clone(),
            );
            let known = self.resolved().get(&key).cloned();
            let value = match known {
                Some(value) => value,
                None => {
                    let found = parameter.kind.value(&self.snapshot, word, &bound).await?;
                    let found = found.ok_or_else(|| {
                        let expected = parameter.kind.describe();
                        fail(format!(
                            "parameter '{name}': expected {expected}, found '{word}'"
                        ))
                    })?;
                    self.resolved().insert(key, found.clone());
                    found
                }
            };
            bound.insert(name.clone(), value);
        }
        Ok(bound)
    }

    /// Computes the rows of a query and keeps them as its table. Later queries read this table, whatever their
    /// parameters. With `chosen`, only rows that belong to a chosen row of a table are kept.
    ///
    /// # Errors
    /// As [`QuerySession::run`]; [`Error::DataFusion`] for conditions that are not expressions over their table.
    pub async fn pin(
        &mut self,
        query: &Query,
        words: &HashMap<String, String>,
        chosen: Option<Chosen<'_>>,
    ) -> Result<()> {
        let bound = self.bind(query, words).await?;
        self.pin_bound(query, bound, query.short_name(), chosen)
            .await
    }

    /// Like [`QuerySession::pin`], with values for all parameters and in the place of the query with a given short name.
    ///
    /// # Errors
    /// As [`QuerySession::pin`].
    pub(crate) async fn pin_bound(
        &mut self,
        query: &Query,
        bound: Bound,
        in_place_of: &str,
        chosen: Option<Chosen<'_>>,
    ) -> Result<()> {
        self.pinned.remove(in_place_of);
        self.made().clear();
        let context = self.prepare(query, &bound).await?;
        let mut rows = plan(&context, query.sql(), bound).await?;
        if let Some(chosen) = chosen {
            let keys = [chosen.key];
            let of_table = chosen.rows(&context).await?.select_columns(&keys)?;
            rows = rows.join(of_table, JoinType::LeftSemi, &keys, &keys, None)?;
        }
        let table = in_memory(rows).await?;
        self.pinned.insert(in_place_of.to_owned(), table);
        Ok(())
    }

    /// Puts rows in the place of a query, by its short name.
    ///
    /// # Errors
    /// If they cannot be a table.
    pub(crate) fn pin_rows(&mut self, name: &str, rows: RecordBatch) -> Result<()> {
        self.made().clear();
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]])?;
        self.pinned.insert(name.to_owned(), Arc::new(table));
        Ok(())
    }

    /// Number of rows of a pinned query.
    ///
    /// # Errors
    /// [`Error::Internal`] if it is not pinned.
    pub(crate) async fn pinned_rows(&self, name: &str) -> Result<usize> {
        let pinned = self.pinned.get(name).ok_or(Error::Internal {
            what: "rows are counted of a query that is not pinned",
        })?;
        let context = self.sql.fork()?;
        Ok(context.read_table(pinned.clone())?.count().await?)
    }

    /// The distinct values of an expression over the columns of a table, as sorted text with `NULL` for null. Only rows
    /// whose key is also in a pinned query count.
    ///
    /// # Errors
    /// [`Error::DataFusion`] if it is not an expression over that table; [`Error::Internal`] if the query is not
    /// pinned.
    pub async fn values(
        &self,
        table: Table,
        expression: &str,
        (pinned, key): (&str, &str),
    ) -> Result<Vec<String>> {
        let context = self.sql.fork()?;
        let rows = context.table(table.name()).await?;
        let value = as_text(context.parse_sql_expr(expression, rows.schema())?).alias("value");
        let pinned = self.pinned.get(pinned).ok_or(Error::Internal {
            what: "values are asked for of a query that is not pinned",
        })?;
        let pinned = context.read_table(pinned.clone())?;
        let rows = rows.join(pinned, JoinType::LeftSemi, &[key], &[key], None)?;
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

    /// A context in which the queries that a query builds on are tables.
    fn prepare<'a>(
        &'a self,
        query: &'a Query,
        bound: &'a Bound,
    ) -> BoxFuture<'a, Result<SessionContext>> {
        async move {
            let context = self.sql.fork()?;
            for used in query.uses() {
                let table = self.table_of(query, used, bound).await?;
                context.register_table(used.table.as_str(), table)?;
            }
            Ok(context)
        }
        .boxed()
    }

    /// The rows of a query that another builds on. Rows made before with the same parameters are reused, because the
    /// snapshot does not change.
    async fn table_of(
        &self,
        query: &Query,
        used: &Used,
        bound: &Bound,
    ) -> Result<Arc<dyn TableProvider>> {
        let base = Query::named(&used.query)?;
        if let Some(pinned) = self.pinned.get(base.short_name()) {
            return Ok(pinned.clone());
        }
        let mut own = Bound::new();
        for parameter in base.parameters() {
            let renamed = used.renamed.iter().find(|(own, _)| *own == parameter.name);
            let name = renamed.map_or(&parameter.name, |(_, other)| other);
            let value = bound.get(name).ok_or_else(|| Error::Query {
                query: query.name().to_owned(),
                reason: format!(
                    "it uses '{}', which takes '{name}'; declare it",
                    base.name()
                ),
            })?;
            own.insert(parameter.name.clone(), value.clone());
        }
        let known = self.made().get(&used.table).cloned();
        if let Some(made) = known
            && made.query == base.name()
            && made.bound == own
        {
            return Ok(made.table);
        }
        let context = self.prepare(&base, &own).await?;
        let rows = plan(&context, base.sql(), own.clone()).await?;
        let table = if base.is_view() {
            rows.into_view()
        } else {
            in_memory(rows).await?
        };
        let made = Made {
            query: base.name().to_owned(),
            bound: own,
            table: table.clone(),
        };
        self.made().insert(used.table.clone(), made);
        Ok(table)
    }

    fn made(&self) -> MutexGuard<'_, HashMap<String, Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resolved(&self) -> MutexGuard<'_, HashMap<Word, ScalarValue>> {
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chosen<'_> {
    async fn rows(&self, context: &SessionContext) -> Result<DataFrame> {
        let mut rows = context.table(self.table.name()).await?;
        if let Some(condition) = self.condition {
            let condition = context.parse_sql_expr(condition, rows.schema())?;
            rows = rows.filter(condition)?;
        }
        if let Some((expression, value)) = self.equals {
            let expression = context.parse_sql_expr(expression, rows.schema())?;
            rows = rows.filter(as_text(expression).eq(lit(value)))?;
        }
        Ok(rows)
    }
}

/// A value as text; `NULL` for null.
fn as_text(value: Expr) -> Expr {
    coalesce(vec![cast(value, DataType::Utf8), lit("NULL")])
}

async fn in_memory(rows: DataFrame) -> Result<Arc<dyn TableProvider>> {
    let task = Arc::new(rows.task_ctx());
    let plan = rows.create_physical_plan().await?;
    // The stages of a plan can differ in which columns may be null, so all are declared nullable.
    let fields = plan.schema().fields().clone();
    let fields = fields
        .iter()
        .map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut partitions = match run_elsewhere(&plan, &task).await? {
        Some(rows) => vec![rows.try_collect().await?],
        None => collect_partitioned(plan, task).await?,
    };
    for batch in partitions.iter_mut().flatten() {
        *batch = RecordBatch::try_new(schema.clone(), batch.columns().to_vec())?;
    }
    Ok(Arc::new(MemTable::try_new(schema, partitions)?))
}
