//! The console: a query, its rows, and which of them name images or masks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use axum::Json;
use axum::extract::State;
use grainstore::head::register_predict;
use grainstore::neighbours::register_neighbours;
use grainstore::query::{Query, QuerySession};
use grainstore::schema::Table;
use grainstore::sql::{Rows, Sql};
use grainstore::store::Snapshot;
use grainstore::store::rows::decode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::app::App;
use super::failure::{Answered, in_time};

/// Maximum number of rows that are shown.
const SHOWN: usize = 500;
/// Maximum length of a value that is shown, in characters.
const VALUE_CHARS: usize = 300;
/// Maximum memory of a query, in bytes.
const MEMORY: usize = 1 << 30;
/// Maximum time of a query.
const TIME: Duration = Duration::from_secs(30);

/// A query.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    sql: String,
}

/// The first rows of a result.
#[derive(Debug, Serialize)]
pub struct Shown {
    columns: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
    /// Whether there are more rows than these.
    is_cut: bool,
    seconds: f64,
}

/// `POST /api/sql`: runs a query that only reads.
pub async fn run(
    State(app): State<Arc<App>>,
    Json(request): Json<Request>,
) -> Answered<Json<Shown>> {
    let snapshot = app.snapshot().await?;
    let run = first_rows(&snapshot, &request.sql);
    let what = ("the query", "; 'grainstore sql' has no limit");
    Ok(Json(in_time(TIME, what, run).await?))
}

async fn first_rows(snapshot: &Snapshot, text: &str) -> Answered<Shown> {
    let started = Instant::now();
    let sql = session(snapshot, text).await?;
    let mut rows = sql.query(text).await?;
    let schema = rows.schema();
    let mut table = Shown {
        columns: schema.fields().iter().map(|it| it.name().clone()).collect(),
        rows: Vec::new(),
        is_cut: false,
        seconds: 0.0,
    };
    while let Some(batch) = rows.next().await? {
        let free = SHOWN - table.rows.len();
        table.is_cut |= batch.num_rows() > free;
        values(&batch.slice(0, batch.num_rows().min(free)), &mut table.rows)?;
        if table.is_cut {
            break;
        }
    }
    table.seconds = started.elapsed().as_secs_f64();
    Ok(table)
}

/// A session with everything that a query of a person may use.
pub async fn session(snapshot: &Snapshot, text: &str) -> Answered<Sql> {
    let sql = Sql::with_memory_limit(snapshot, MEMORY).await?;
    register_predict(&sql, snapshot, text).await?;
    register_neighbours(&sql, snapshot, None);
    Ok(sql)
}

/// Values as text; null as none.
fn values(batch: &RecordBatch, rows: &mut Vec<Vec<Option<String>>>) -> Answered<()> {
    let options = FormatOptions::default();
    let columns = batch.columns();
    let formatters = columns
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options))
        .collect::<Result<Vec<_>, _>>()
        .map_err(grainstore::Error::from)?;
    for row in 0..batch.num_rows() {
        let value = |(column, formatter): (&Arc<dyn Array>, &ArrayFormatter)| {
            column.is_valid(row).then(|| {
                let text = formatter.value(row).to_string();
                match text.char_indices().nth(VALUE_CHARS) {
                    Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
                    None => text,
                }
            })
        };
        rows.push(columns.iter().zip(&formatters).map(value).collect());
    }
    Ok(())
}

/// All rows of a named query whose result is small, as values.
pub async fn named<T: DeserializeOwned>(
    snapshot: &Snapshot,
    name: &str,
    words: &HashMap<String, String>,
) -> Answered<Vec<T>> {
    let session = QuerySession::new(snapshot).await?;
    let rows = session.run(&Query::named(name)?, words).await?;
    first(rows, usize::MAX).await
}

/// The first rows of a query, as values.
pub async fn first<T: DeserializeOwned>(mut rows: Rows, count: usize) -> Answered<Vec<T>> {
    let mut found = Vec::new();
    while found.len() < count
        && let Some(batch) = rows.next().await?
    {
        found.extend(decode::<T>(Table::Masks, &batch)?);
    }
    found.truncate(count);
    Ok(found)
}

/// Queries that come with grainstore and need no values: a name, what it asks, and its text.
pub fn saved() -> grainstore::Result<Vec<(String, String, String)>> {
    // What people ask comes before what 'grainstore check' asks.
    let mut queries: Vec<Query> = Query::all()?
        .into_iter()
        .filter(|query| query.uses().is_empty() && query.parameters().is_empty())
        .filter(|query| query.name().starts_with("review/") || query.name().starts_with("check/"))
        .collect();
    queries.sort_by_key(|query| !query.name().starts_with("review/"));
    let texts = queries.into_iter().map(|query| {
        let (name, asks) = (query.name().to_owned(), query.asks().to_owned());
        (name, asks, query.sql().to_owned())
    });
    Ok(texts.collect())
}
