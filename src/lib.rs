//! wip
pub mod error;
pub mod names;
pub mod progress;
pub mod schema;
pub mod store;
pub use error::{Error, Result};
