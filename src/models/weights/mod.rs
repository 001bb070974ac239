//! Loading weights into a model, saving them, and reporting why they do not fit.
//!
//! A model's fields are named like upstream's weights where that is possible. Each family has [`Names`]: a pure function
//! from the [`Place`] of a parameter in the model to the [`Recipe`] by which it is made from a file's tensors.

mod load;
mod place;
mod save;

pub(super) use load::{Names, Recipe, load};
pub(super) use place::Place;
pub use save::WeightPrecision;
pub(super) use save::save;
