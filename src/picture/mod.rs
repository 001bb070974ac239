//! Pictures: photos with what was annotated, found and kept drawn on them.
//!
//! ```text
//! images x ground_truth | masks | predictions --show--> panels --sheet--> one picture
//! ```
//!
//! A class has one colour, by its place in the class set, in pictures and in the charts of reports alike.

mod color;
mod overlay;
mod panels;
mod show;
mod text;

pub use color::{any_color, class_color, mix, text_on};
pub use overlay::{Layer, draw, scaled};
pub use panels::{Panel, in_grid, sheet};
pub use show::{Part, Picture, ShowRequest, Shown, show};
pub use text::Pen;
