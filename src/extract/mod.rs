//! Extraction: images go through Segment Anything once, and rows of `masks` come out. This is the only place where the
//! model meets the store.
//!
//! ```text
//! images not yet done --read, decode (threads, ahead)--> photos
//!     --MaskGenerator (one thread, or one per image)--> masks --commits of bounded size--> masks, extractions, image_features
//! ```
//!
//! An image's masks and its row of `extractions` are written in one commit, so an image that counts as done has all its
//! masks, and an image whose extraction was interrupted has none and is extracted again.

mod batches;
mod crop_features;
mod decoded;
mod generated;
mod generator;
mod grid;
mod identity;
mod job;
mod kept;
mod options;
mod pending;
mod prompted;
mod prompter;
mod request;
mod run;
mod seams;
mod sink;
mod summary;
mod target;

pub(crate) use batches::{Batches, within_memory};
pub(crate) use decoded::{Ahead, DECODED_AHEAD, DecodedPhoto, read_ahead};
pub use generated::GeneratedMask;
pub use generator::MaskGenerator;
pub use grid::{Crop, CropLayout, Tiling, crops, point_grid, points_per_side};
pub use identity::extractor_row;
pub(crate) use identity::{file_name, sha256_of_files};
#[cfg_attr(
    not(feature = "cluster"),
    expect(unused_imports, reason = "only clusters name it")
)]
pub(crate) use job::ExtractTask;
pub use job::extract_with_workers;
pub use options::{MaskOptions, MaskOutput, SamVector};
pub use pending::{ImageSelection, PendingImage, Shard, Wanted, pending_images};
pub(crate) use pending::{images_done, images_of_extractor, masks_of_images};
pub use prompted::{NewMask, add_prompted_mask};
pub use prompter::Prompter;
pub use request::{ExtractRequest, extract};
pub(crate) use run::failure_of;
pub use run::{DEFAULT_COMMIT_MASKS, Extractor, extract_with};
pub use summary::ExtractSummary;
