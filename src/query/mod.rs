//! Named queries: the files of `queries/`, each with a header that says what it asks, and the sessions in which they
//! run.
//!
//! Words for parameters come in; record batches stream out. The [catalogue](crate::catalogue) resolves names of heads,
//! policies, class sets and so on while parameters are bound. So the SQL only ever sees ids, and an unknown name is an
//! error instead of an empty or a perfect result.

mod header;
mod library;
mod parameter;
mod session;

pub use header::{Query, Used};
pub use parameter::{Bound, Parameter, ParameterType};
pub use session::{Chosen, QuerySession};
