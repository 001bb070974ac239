//! Import: what other models found comes in as predictions, so that the store evaluates, compares and exports what it
//! did not make.

mod coco_results;
mod commit;

pub use coco_results::{ImportRequest, ImportSummary, import_coco_results};
