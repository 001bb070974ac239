//! Exports: what a head keeps, or a data set annotates, as files that other programs read without repair.
//!
//! ```text
//! predictions x masks | ground_truth --Source--> objects, in the store's order --> COCO JSON, VOC label maps, Parquet
//! ```
//!
//! Objects stream, so memory holds an id and a few numbers for each image and each kept mask. A file takes its place
//! when it is complete and, of COCO, has been read back; whatever fails, the old one stays.

mod categories;
mod coco;
mod file;
mod images;
mod object;
mod parquet;
mod request;
mod resolve;
mod source;
mod validate;
mod voc;
mod writer;

pub use categories::{Category, plan_categories};
pub use coco::{CocoExport, CocoFormat, ExportSummary, export_coco};
pub use file::Unfinished;
pub use images::{ImageList, plan_images};
pub use object::{Annotated, Object, ObjectKind, Predicted};
pub use parquet::{ParquetExport, export_parquet};
pub use request::{Annotations, ExportRequest, Ids, MaskStyle};
pub use source::{Objects, Origin, Source};
pub use voc::{Photos, VocExport, export_voc};
