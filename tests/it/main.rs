//! The one integration-test binary: linking Lance and DataFusion takes long, so it is done once.

#![allow(missing_docs)]

mod annotate;
mod cli;
mod demo;
mod demo_model;
mod device;
mod eval;
mod eval_classes;
mod eval_store;
mod export;
mod export_files;
mod extract;
mod faults;
mod geometry;
#[path = "../../examples/soak/harness.rs"]
mod harness;
mod head;
mod head_parity;
mod hostile;
mod import;
mod ingest;
mod ingest_folder;
mod ingest_voc;
mod layers;
mod made_store;
mod photo;
mod picture;
mod relocate;
mod sam;
mod sql;
mod sql_store;
mod store;
mod support;
