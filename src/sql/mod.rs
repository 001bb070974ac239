//! SQL over a snapshot: the store's tables and the SQL [`functions`] come in, record batches stream out.
//!
//! [`Sql`] plans with DataFusion and reads with Lance, so a query reads only the columns and rows that it names. A
//! [`QueryEngine`](crate::store::QueryEngine) can run the plans elsewhere.
//! Nothing here writes to the store.

mod dot_access;
mod engine;
pub mod functions;
mod names;
#[cfg_attr(not(feature = "cluster"), allow(dead_code))]
// Its parts are looked at by the codec of clusters.
pub(crate) mod scan;
mod session;
mod stored_table;

pub use names::SqlNames;
pub use session::{Rows, Sql};
pub(crate) use session::{plan, run_elsewhere};
