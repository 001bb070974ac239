//! The one integration-test binary: linking Lance and DataFusion takes long, so it is done once.

#![allow(missing_docs)]

mod geometry;
mod photo;
mod store;
mod support;
