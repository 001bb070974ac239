//! SQL over a snapshot: tables of the store and `rle_*` functions come in, record batches stream out.
//!
//! [`Sql`] plans with DataFusion and reads with Lance, so a query touches only the columns and rows it
//! names. Everything here only reads.

mod dot_access;
pub mod functions;
mod session;

pub(crate) use session::plan;
pub use session::{Rows, Sql};
