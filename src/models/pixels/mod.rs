//! From bytes of RGB to a model's input: resizing as Pillow does it, and normalising.

mod fit;
mod normalise;
mod pillow;
mod planes;
mod spline;

pub(super) use fit::within;
pub use fit::{Fit, Rgb};
pub(super) use normalise::{IMAGENET, Normalisation};
pub(super) use pillow::{Filter, resize};
pub(super) use planes::resize_planes;
pub(super) use spline::resize_by_splines;
