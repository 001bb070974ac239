//! Import: what other programs made comes in. Predictions can be evaluated, compared and exported; masks can be
//! embedded, trained on, predicted and evaluated, as those that the store made.

mod coco_results;
mod commit;
mod masks;

pub use coco_results::{ImportRequest, ImportSummary, import_coco_results};
pub use masks::{ImportMasksRequest, ImportMasksSummary, MaskSource, import_masks};
