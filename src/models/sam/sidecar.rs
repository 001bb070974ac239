//! Reads sizes from a `config.json` that the shapes of weights do not determine.
//!
//! In: the file that Hugging Face's `save_pretrained` writes. Out: the decoder's attention heads. All other sizes are
//! derived from the weights.

use std::path::Path;

use serde::Deserialize;

use super::config::MOST_LAYERS;
use crate::models::checkpoint::read_text;
use crate::models::error::{ModelError, Result};

/// Limit on the size of a config. Those of published models take 1 KB.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Deserialize)]
struct ModelConfig {
    model_type: Option<String>,
    mask_decoder_config: Option<DecoderConfig>,
}

#[derive(Deserialize)]
struct DecoderConfig {
    num_attention_heads: Option<usize>,
}

/// The number of attention heads in the mask decoder, if the file gives it.
///
/// # Errors
/// [`ModelError::OpenCheckpoint`]; [`ModelError::CheckpointConfig`] if the file belongs to another model or is not such a
/// config.
pub(super) fn decoder_heads(path: &Path) -> Result<Option<usize>> {
    let wrong = |reason: String| ModelError::CheckpointConfig {
        path: path.to_owned(),
        reason,
    };
    let text = read_text(path, MAX_BYTES)?;
    let config: ModelConfig =
        serde_json::from_str(&text).map_err(|err| wrong(format!("expected JSON: {err}")))?;
    match config.model_type.as_deref() {
        None | Some("sam") => {}
        Some(other) => {
            return Err(wrong(format!(
                "its 'model_type' is '{other}'; expected 'sam'"
            )));
        }
    }
    let heads = config
        .mask_decoder_config
        .and_then(|it| it.num_attention_heads);
    match heads {
        Some(heads) if !(1..=MOST_LAYERS).contains(&heads) => Err(wrong(format!(
            "'mask_decoder_config.num_attention_heads' is {heads}; expected 1 to {MOST_LAYERS}"
        ))),
        heads => Ok(heads),
    }
}
