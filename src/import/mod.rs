//! Import: predictions of other models come in, so that the store can evaluate, compare and export what it did not
//! make.

mod coco_results;
mod commit;

pub use coco_results::{ImportRequest, ImportSummary, import_coco_results};
