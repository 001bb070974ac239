//! One SQL statement or named query, of `grainstore sql`, of its shell and of `grainstore query`.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::bail;
use grainstore::head::{CreateHead, register_predict};
use grainstore::neighbours::{ClipTexts, register_neighbours};
use grainstore::query::{Query, QuerySession};
use grainstore::sql::Sql;
use grainstore::store::{Snapshot, Store};

use super::output::Output;
use super::{Ended, Global};

/// Runs a query, or trains the head of a CREATE HEAD. `texts` has the weights for `nearest_text`.
pub async fn run_statement(
    query: &str,
    store: &Store,
    snapshot: &Snapshot,
    texts: Option<Arc<ClipTexts>>,
    output: &Output,
    global: &Global,
) -> anyhow::Result<Ended> {
    if let Some(statement) = CreateHead::parse(query)? {
        return super::train::create(statement, store, snapshot, global).await;
    }
    let sql = Sql::new(snapshot).await?;
    register_predict(&sql, snapshot, query).await?;
    register_neighbours(&sql, snapshot, texts.map(|texts| texts as _));
    let rows = sql.query(query).await?;
    output.write(rows, global.json).await?;
    Ok(Ended::Done)
}

/// Runs a query with a header, with values for its parameters.
pub async fn run_query(
    query: &Query,
    snapshot: &Snapshot,
    parameters: &HashMap<String, String>,
    output: &Output,
    global: &Global,
) -> anyhow::Result<()> {
    let session = QuerySession::new(snapshot).await?;
    register_predict(session.sql(), snapshot, query.sql()).await?;
    register_neighbours(session.sql(), snapshot, None);
    let rows = session.run(query, parameters).await?;
    output.write(rows, global.json).await
}

/// A parameter and its value.
pub fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// Values by parameter, each given once.
pub fn by_parameter(pairs: Vec<(String, String)>) -> anyhow::Result<HashMap<String, String>> {
    let mut parameters = HashMap::new();
    for (key, value) in pairs {
        if parameters.insert(key.clone(), value).is_some() {
            bail!("parameter '{key}' is given twice");
        }
    }
    Ok(parameters)
}
