//! Selection of images: the filter that every verb takes, and the images that it selects.
//!
//! A filter and a snapshot come in; rows of images go out. No file is read.

mod filter;
mod images;

pub use filter::ImageFilter;
pub use images::{SelectedImage, find_images};
