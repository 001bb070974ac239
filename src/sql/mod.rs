//! SQL over a snapshot: tables of the store and `rle_*` functions come in, record batches stream out.
//!
//! [`Sql`] plans with DataFusion and reads with Lance, so a query touches only the columns and rows it
//! names. [`Report`] is a query file of `queries/` with a header that says what it asks and which
//! parameters it takes. Everything here only reads.

mod fields;
pub mod functions;
mod report;
mod session;

pub use report::{Parameter, ParameterType, Report, Used};
pub use session::{Rows, Sql};
