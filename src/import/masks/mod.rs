//! Masks of other programs become rows of `masks`, so that they can be embedded, trained on and predicted.
//!
//! ```text
//! COCO JSON, SA-1B JSON, label maps --find the image of each, read (threads)--> masks of an image
//! ground_truth -----------------------gather the objects of each image--------> masks of an image
//!     --commits of bounded size--> masks, extractions, extractors (kind 'imported masks'), failures
//! ```
//!
//! Masks have no classes here, and no embeddings. An image's masks and its row of `extractions` are written in one
//! commit, so an import that was interrupted goes on where it stopped.

mod coco;
mod files;
mod ground_truth;
mod identity;
mod images;
mod item;
mod label_maps;
mod request;
mod run;
mod sa1b;
mod sink;

pub use request::{ImportMasksRequest, ImportMasksSummary, MaskSource};
pub use run::import_masks;
