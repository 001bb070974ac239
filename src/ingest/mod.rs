//! Ingest: photos, labels and annotations come in from folders; rows of `images`, `labels`,
//! `ground_truth`, `class_sets` and `failures` go out. No model is run and no pixel is kept: images
//! stay where they are, the store remembers where, and what their bytes hash to.
//!
//! Three readers share one pipeline. A reader lists its items in a fixed order; worker threads read,
//! hash and probe the files and rasterise annotations; a writer drops what the store already holds
//! and commits in batches. An item that cannot be used becomes a row of `failures` and the run goes on.
//! Photos that were moved since are found again by their bytes ([`relocate`]).

mod annotation;
mod class_names;
mod coco;
mod coco_items;
mod folder;
mod labels;
mod options;
mod photo_file;
mod pipeline;
mod plan;
mod regions;
mod relocate;
mod voc;
mod walk;
mod writer;

pub use class_names::{parse_class_names, read_class_names};
pub use coco::{CocoIngest, ingest_coco};
pub use folder::{FolderIngest, LabelSource, ingest_folder};
pub use options::{DEFAULT_COMMIT_ROWS, IngestOptions, Source};
pub use relocate::{RelocateRequest, RelocateSummary, Relocation, relocate};
pub use voc::{VOC_CLASSES, VocIngest, ingest_voc};
pub use writer::IngestSummary;
