//! One SQL statement, of `grainstore sql` and of its shell.

use std::sync::Arc;

use grainstore::head::{CreateHead, register_predict};
use grainstore::neighbours::{ClipTexts, register_neighbours};
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
