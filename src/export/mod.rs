//! Exports: the masks that a head keeps, or the objects that a data set annotates, as files for other programs.
//!
//! ```text
//! predictions x masks | ground_truth --Source--> objects, in the store's order --> COCO JSON, VOC and other label maps, YOLO, CVAT,
//!         Label Studio, Hugging Face, GeoJSON, Parquet
//! masks of an extractor --> SA-1B JSON
//! ```
//!
//! Objects are streamed, so memory holds an id and a few numbers per image and per kept mask. A file is moved into
//! place when it is complete and, for COCO, has been read back and checked. After any failure, the old file stays.

mod categories;
mod coco;
mod cvat;
mod file;
mod geojson;
mod hugging_face;
mod images;
mod label_maps;
mod label_studio;
mod label_values;
mod object;
mod parquet;
mod photos;
mod pixel_maps;
mod request;
mod resolve;
mod sa1b;
mod source;
mod stream;
mod validate;
mod voc;
mod writer;
mod yolo;

pub use coco::{CocoExport, CocoFormat, ExportSummary, export_coco};
pub use cvat::{CvatExport, export_cvat};
pub use file::Unfinished;
pub use geojson::{GeoJsonExport, export_geojson};
pub use hugging_face::{HuggingFaceExport, export_hugging_face};
pub use label_maps::{LabelMapExport, MapFile, export_label_maps};
pub use label_studio::{LabelStudioExport, export_label_studio};
pub(crate) use object::{Object, ObjectKind};
pub use parquet::{ParquetExport, export_parquet};
pub use photos::Photos;
pub use request::{Annotations, ExportRequest, Ids, MaskStyle};
pub use sa1b::{Sa1bExport, export_sa1b};
pub(crate) use source::{Objects, Source};
pub(crate) use stream::OfImages;
pub use voc::{VocExport, export_voc};
pub use yolo::{YoloExport, export_yolo};
