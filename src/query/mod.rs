//! Named queries: files of `queries/` with a header that says what they ask, and the sessions they run in.
//!
//! Words for parameters come in; record batches stream out. Names of heads, policies, class sets and so on are resolved
//! by the [catalogue](crate::catalogue) while parameters are bound, so the SQL only ever sees ids, and a name that is
//! not there is an error instead of an empty or a perfect result.

mod header;
mod library;
mod parameter;
mod session;

pub use header::{Query, Used};
pub use parameter::{Bound, Parameter, ParameterType};
pub use session::{Chosen, QuerySession};
