//! What makes two embedders the same: the weights, the network, the precision, and every option.

use std::path::{Path, PathBuf};

use chrono::Utc;
use serde::Serialize;

use super::options::{EmbedOptions, Resolved};
use crate::Result;
use crate::device::Precision;
use crate::extract::{file_name, sha256_of_files};
use crate::ids::EmbedderId;
use crate::models::{EmbeddingModelInfo, Weights};
use crate::store::rows::EmbedderRow;

/// What affects the vectors, besides the weights.
#[derive(Serialize)]
struct Identity<'a> {
    #[serde(flatten)]
    options: &'a Resolved,
    precision: Precision,
}

/// The row of `embedders` for weights, options and the precision that the network computes in. Without a name, it is
/// called as its network, such as `dinov2_vitb14`.
///
/// Its id is computed from the SHA-256 of the weights, the network's name and everything else that affects the vectors,
/// so the same inputs give the same id everywhere.
///
/// # Errors
/// [`crate::Error::InvalidOption`]; [`crate::Error::File`] if a file of the weights cannot be read.
pub fn embedder_row(
    weights: &Weights,
    model: &EmbeddingModelInfo,
    options: &EmbedOptions,
    precision: Precision,
    name: Option<&str>,
) -> Result<EmbedderRow> {
    let resolved = options.resolve(model)?;
    let identity = Identity {
        options: &resolved,
        precision,
    };
    // The keys of a JSON value are sorted.
    let options = serde_json::to_value(identity)?.to_string();
    let source = Source {
        path: weights.path(),
        files: weights.files(),
        model_type: model.name.unwrap_or("custom"),
        default_name: model.name.unwrap_or(model.family_word()),
        dim: model.dim,
    };
    source.row(options, name)
}

/// Where vectors come from.
pub(crate) struct Source<'a> {
    pub path: &'a Path,
    pub files: &'a [PathBuf],
    pub model_type: &'a str,
    pub default_name: &'a str,
    pub dim: usize,
}

impl Source<'_> {
    fn row(&self, options: String, name: Option<&str>) -> Result<EmbedderRow> {
        let sha256 = sha256_of_files(self.files)?;
        let dim = i32::try_from(self.dim).map_err(|_| crate::Error::ModelOutput {
            what: "vector's length",
        })?;
        Ok(EmbedderRow {
            embedder_id: EmbedderId::of_parts([self.model_type, &sha256, &options]),
            embedder: name.unwrap_or(self.default_name).to_owned(),
            model_type: self.model_type.to_owned(),
            checkpoint: file_name(self.path),
            checkpoint_sha256: sha256,
            dim,
            options,
            grainstore_version: env!("CARGO_PKG_VERSION").to_owned(),
            created_at: Utc::now(),
        })
    }
}
