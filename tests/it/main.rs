//! The one integration-test binary: linking Lance and DataFusion takes long, so it is done once.

#![allow(missing_docs)]

mod cli;
#[cfg(feature = "extract")]
mod extract;
mod geometry;
mod ingest;
mod layers;
mod photo;
#[cfg(feature = "extract")]
mod sam;
mod sql;
mod sql_store;
mod store;
mod support;
