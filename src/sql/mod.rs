//! SQL over a snapshot: the store's tables and the SQL [`functions`] come in, record batches stream out.
//!
//! [`Sql`] plans with DataFusion and reads with Lance, so a query reads only the columns and rows that it names.
//! Nothing here writes to the store.

mod dot_access;
pub mod functions;
mod session;
mod stored_table;

pub(crate) use session::plan;
pub use session::{Rows, Sql};
