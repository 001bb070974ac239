//! What everything that makes vectors of masks has in common: pooling under masks, adding rows
//! to a store, and reading vectors beside their masks.

mod add;
mod attach;
mod pool;

pub(crate) use add::{
    VectorBatch, add_vectors, check_free, free_name, images_embedded, images_of_embedder,
    images_with_vectors,
};
pub(crate) use attach::VectorsOfImages;
pub(crate) use pool::{check_finite, pooled};
