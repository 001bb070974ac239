//! Ingest reads photos, labels and annotations from folders and writes rows of `images`, `labels`, `ground_truth`,
//! `class_sets` and `failures`. It runs no model and stores no pixels: images stay where they are, and the store
//! records their paths and the hashes of their bytes.
//!
//! Four readers share one pipeline. A reader lists its items in a fixed order. Worker threads read, hash and probe the
//! files and rasterise annotations. A writer drops what the store already holds and commits in batches. An item that
//! cannot be used becomes a row of `failures`, and the run continues. Photos that were moved after ingest are found
//! again by their bytes ([`relocate`]).

mod annotation;
mod class_names;
mod coco;
mod coco_items;
mod cvat;
mod cvat_file;
mod cvat_shapes;
mod drawn;
mod folder;
mod label_maps;
mod label_studio;
mod label_studio_file;
mod label_studio_shapes;
mod labels;
mod manifest;
mod options;
mod outcome;
mod photo_address;
mod photo_file;
mod pipeline;
mod plan;
mod regions;
mod relocate;
mod voc;
mod walk;
mod writer;
mod yolo;

pub(crate) use class_names::parse_class_names;
pub use class_names::{ClassValues, read_class_names};
pub use coco::{CocoIngest, ingest_coco};
pub use cvat::{CvatIngest, ingest_cvat};
pub use folder::{FolderIngest, LabelSource, ingest_folder, ingest_listed};
pub use label_maps::{LabelMapIngest, ingest_label_maps};
pub use label_studio::{LabelStudioIngest, ingest_label_studio};
pub(crate) use manifest::parse_line;
pub use manifest::{ManifestImage, read_manifest};
pub use options::{DEFAULT_COMMIT_ROWS, IngestOptions, Source};
pub use outcome::IngestSummary;
pub use relocate::{RelocateRequest, RelocateSummary, Relocation, relocate};
pub use voc::{VOC_CLASSES, VocIngest, ingest_voc};
pub use yolo::{Outlines, YoloIngest, ingest_yolo};
