//! The one integration-test binary: linking Lance and DataFusion takes long, so it is done once.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "what goes wrong in a test, its helpers included, ends the test"
)]
#![allow(missing_docs)]

mod annotate;
mod bucket;
mod channels;
mod checkpoint;
mod cli;
mod cli_eval;
mod cli_labels;
#[cfg(feature = "cluster")]
mod cluster;
#[cfg(feature = "cluster")]
mod cluster_sql;
mod collect;
mod corrections;
mod cvat;
mod demo;
mod demo_model;
mod device;
mod embed;
mod embedding_models;
mod eval;
mod eval_boxes;
mod eval_classes;
mod export;
mod export_files;
mod export_heads;
mod extract;
mod faults;
mod format;
mod geometry;
mod head;
mod head_epochs;
mod head_parity;
mod head_refine;
mod hostile;
mod hugging_face;
mod import;
mod import_masks;
mod indexes;
mod ingest;
mod ingest_coco;
mod ingest_folder;
mod ingest_voc;
mod ingest_yolo;
mod jobs;
mod label_maps;
mod label_studio;
mod labels;
mod layers;
mod links;
mod mask_training;
mod neighbours;
mod odd_names;
mod photo;
mod picture;
mod predictor;
mod relocate;
mod review;
mod review_page;
mod sam;
mod sam2;
mod sam3;
mod sam_hq;
mod sql;
mod sql_shell;
mod store;
#[path = "../support/mod.rs"]
mod support;
mod there_and_back;
mod unreliable;
mod yolo;

use support::{eval_store, harness, made_store, predicted_store, proxy, sql_store};
