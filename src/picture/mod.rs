//! Pictures: photos with annotated objects, extracted masks and kept masks drawn on them.
//!
//! ```text
//! images x ground_truth | masks | predictions --show--> panels --sheet--> one picture
//! masks that were searched for --contact_sheet--> one picture
//! ```
//!
//! The colour of a class depends on its position in the class set and is the same in pictures and in the charts of
//! reports.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::photo::DecodeLimits;
use crate::selection::SelectedImage;

mod color;
mod overlay;
mod panels;
mod sheet;
mod show;
mod text;

pub use color::class_color;
pub use overlay::scaled;
pub use panels::{Panel, in_grid, sheet};
pub use sheet::{ContactSheet, SheetRequest, Tile, contact_sheet, mask_tile};
pub use show::{Part, Picture, ShowRequest, Shown, show};

/// The turn of an image whose photo is larger than decoding allows by default: of these, one is in memory at a time. Others need
/// no turn.
fn turn_of(image: &SelectedImage) -> Option<MutexGuard<'static, ()>> {
    static TURN: Mutex<()> = Mutex::new(());
    let pixels = u64::from(image.width.unsigned_abs()) * u64::from(image.height.unsigned_abs());
    let is_large = pixels > DecodeLimits::default().max_pixels;
    is_large.then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner))
}
