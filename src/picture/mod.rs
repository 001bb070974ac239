//! Pictures: photos with annotated objects, extracted masks and kept masks drawn on them.
//!
//! ```text
//! images x ground_truth | masks | predictions --show--> panels --sheet--> one picture
//! masks that were searched for --contact_sheet--> one picture
//! ```
//!
//! The colour of a class depends on its position in the class set and is the same in pictures and in the charts of
//! reports.

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
