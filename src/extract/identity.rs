//! What makes two extractions the same: the weights, the model type, and every option.

use std::fs::File;
use std::path::Path;

use chrono::Utc;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::options::MaskOptions;
use crate::device::Precision;
use crate::names::{ContentId, hex};
use crate::sam::SamConfig;
use crate::store::rows::{ExtractorKind, ExtractorRow, embedding_space};
use crate::{Error, Result};

/// What changes the masks, beside the checkpoint.
#[derive(Serialize)]
struct Identity<'a> {
    #[serde(flatten)]
    options: &'a MaskOptions,
    precision: Precision,
}

/// The row of `extractors` for a checkpoint, its model, the options and the precision it computes in.
///
/// Its id is made of the file's SHA-256, the model type and all that changes the masks, so the
/// same ones give the same id everywhere.
///
/// # Errors
/// [`Error::File`] if the checkpoint cannot be read.
pub fn extractor_row(
    checkpoint: &Path,
    config: &SamConfig,
    options: &MaskOptions,
    precision: Precision,
) -> Result<ExtractorRow> {
    let sha256 = sha256_of(checkpoint)?;
    let model_type = config.model_type().map_or("custom", |model| model.name());
    // Through a JSON value: its keys are sorted.
    let options = serde_json::to_value(Identity { options, precision })?.to_string();
    let embedding_dim = config.decoder.mask_tokens() * config.prompt_dim;
    let embedding_dim = i32::try_from(embedding_dim).map_err(|_| Error::ModelOutput {
        what: "embedding's length",
    })?;
    Ok(ExtractorRow {
        extractor_id: ContentId::of_parts([model_type, &sha256, &options]),
        kind: ExtractorKind::Sam,
        model_type: Some(model_type.to_owned()),
        checkpoint: checkpoint
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        embedding_dim: Some(embedding_dim),
        embedding_space: Some(embedding_space(&sha256, &options, embedding_dim)),
        checkpoint_sha256: sha256,
        options,
        grainstore_version: env!("CARGO_PKG_VERSION").to_owned(),
        created_at: Utc::now(),
    })
}

/// SHA-256 of a file, 64 lower-case hex digits.
fn sha256_of(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::file("read", path))?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).map_err(Error::file("read", path))?;
    Ok(hex(&hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extractors_keep_their_ids() {
        // What stores hold: the keys of the options and the precision, sorted, in one object.
        let (options, precision) = (&MaskOptions::default(), Precision::F32);
        let found = serde_json::to_value(Identity { options, precision }).unwrap();
        let mut expected = serde_json::to_value(options).unwrap();
        expected["precision"] = "f32".into();
        assert_eq!(found.to_string(), expected.to_string());
        assert!(
            found.to_string().starts_with("{\"box_nms_thresh\":"),
            "{found}"
        );
    }
}
