//! Models in burn: image segmentation and embedding networks, and the files their weights come in.
//!
//! In: a file of weights, whose [`Family`] is recognised by the names of its tensors; RGB bytes. Out: tensors. Nothing
//! here depends on stores or image files. Files, fields and weights are named as upstream names them.
//!
//! ```text
//! path --Weights::open--> family, tensors --sam | clip | dino | efficientnet--> a model
//! ```

mod checkpoint;
pub mod clip;
pub mod dino;
pub mod efficientnet;
mod embedding;
mod error;
mod family;
mod layers;
mod pixels;
pub mod sam;
mod tensor_problem;
mod weights;

pub use checkpoint::Weights;
pub use embedding::{
    DenseVectors, EMBEDDING_FAMILIES, EmbeddingModel, EmbeddingModelInfo, open_embedding_weights,
};
pub use family::Family;
pub use layers::Activation;
pub use pixels::{Fit, Rgb};
pub use weights::WeightPrecision;
