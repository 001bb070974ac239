//! wip
pub mod coco;
pub mod error;
pub mod geometry;
pub mod ingest;
pub mod names;
pub mod photo;
pub mod progress;
pub mod schema;
pub mod sql;
pub mod store;
pub use error::{Error, Result};
