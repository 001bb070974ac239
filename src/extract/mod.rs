//! Extraction: images go through Segment Anything once, rows of `masks` come out. The only place where
//! the model meets the store.
//!
//! ```text
//! images not yet done --read, decode (threads, ahead)--> photos
//!     --MaskGenerator (one thread)--> masks --commits of bounded size--> masks, extractions
//! ```
//!
//! An image's masks and its row of `extractions` are written in one commit, so an image that counts as
//! done has all its masks, and one whose extraction was cut short has none and is done again.

mod batches;
mod generator;
mod grid;
mod identity;
mod options;
mod pending;
mod request;
mod run;
mod sink;

pub use generator::{GeneratedMask, MaskGenerator};
pub use grid::{Crop, CropLayout, crops, point_grid, points_in_crop, points_per_side};
pub use identity::extractor_row;
pub use options::{MaskOptions, MaskOutput};
pub(crate) use pending::images_done;
pub use pending::{ImageSelection, PendingImage, Shard, pending_images};
pub use request::{ExtractRequest, extract};
pub use run::{DEFAULT_COMMIT_MASKS, ExtractSummary, Extractor, extract_with, read_ingested};
