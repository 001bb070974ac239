//! Official names of the weights of Segment Anything (upstream: segment-anything, MobileSAM), by field of the model.
//!
//! Fields are named like upstream's weights, except where upstream has numbers in a `Sequential`.

use std::path::Path;

use super::sam::Sam;
use crate::models::error::Result;
use crate::models::weights::{self, Place, Recipe, WeightPrecision};

/// Parts of parameter paths: ours, then upstream's.
const PARTS: [(&str, &str); 28] = [
    (".neck.convs.fourfold.", ".neck.convs.0."),
    (".neck.convs.double.", ".neck.convs.1."),
    (".neck.convs.same.", ".neck.convs.2."),
    (".neck.conv1.", ".neck.0."),
    (".neck.norm1.", ".neck.1."),
    (".neck.conv2.", ".neck.2."),
    (".neck.norm2.", ".neck.3."),
    (".mask_downscaling.conv1.", ".mask_downscaling.0."),
    (".mask_downscaling.norm1.", ".mask_downscaling.1."),
    (".mask_downscaling.conv2.", ".mask_downscaling.3."),
    (".mask_downscaling.norm2.", ".mask_downscaling.4."),
    (".mask_downscaling.conv3.", ".mask_downscaling.6."),
    (".output_upscaling.conv1.", ".output_upscaling.0."),
    (".output_upscaling.norm.", ".output_upscaling.1."),
    (".output_upscaling.conv2.", ".output_upscaling.3."),
    (
        "image_encoder.patch_embed.conv1.",
        "image_encoder.patch_embed.seq.0.",
    ),
    (
        "image_encoder.patch_embed.conv2.",
        "image_encoder.patch_embed.seq.2.",
    ),
    ("image_encoder.conv_layer.", "image_encoder.layers.0."),
    ("mask_decoder.hq.", "mask_decoder."),
    (".compress_vit_feat.conv1.", ".compress_vit_feat.0."),
    (".compress_vit_feat.norm.", ".compress_vit_feat.1."),
    (".compress_vit_feat.conv2.", ".compress_vit_feat.3."),
    (".embedding_encoder.conv1.", ".embedding_encoder.0."),
    (".embedding_encoder.norm.", ".embedding_encoder.1."),
    (".embedding_encoder.conv2.", ".embedding_encoder.3."),
    (".embedding_maskfeature.conv1.", ".embedding_maskfeature.0."),
    (".embedding_maskfeature.norm.", ".embedding_maskfeature.1."),
    (".embedding_maskfeature.conv2.", ".embedding_maskfeature.3."),
];

/// Upstream's name of the parameter at a path of field names.
fn official_name(path: &str) -> String {
    // TinyViT's first stage is a separate field here, so the other stages count from 0.
    if let Some((stage, rest)) = path
        .strip_prefix("image_encoder.layers.")
        .and_then(|rest| rest.split_once('.'))
        && let Ok(stage) = stage.parse::<usize>()
    {
        return official_name(&format!("image_encoder.layer.{}.{rest}", stage + 1)).replacen(
            "image_encoder.layer.",
            "image_encoder.layers.",
            1,
        );
    }
    PARTS
        .iter()
        .fold(path.to_owned(), |path, (ours, official)| {
            path.replacen(ours, official, 1)
        })
}

const POSITION_FREQUENCIES: &str = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix";

/// Hugging Face's SAM 2 has the embeddings of points in one matrix.
pub(super) const POINT_ROWS: &str = "prompt_encoder.point_embeddings.weight";

/// The positions of SAM 2's and SAM 3's encoders.
pub(super) const POSITIONS: &str = "image_encoder.trunk.pos_embed";
/// A tensor that only exists where SAM 3's encoder has queries, keys and values apart.
pub(super) const PART_OF_QKV: &str = "image_encoder.trunk.blocks.0.attn.q_proj.weight";

/// The names of Segment Anything's weights.
#[derive(Default)]
pub(super) struct Names {
    /// Whether the embeddings of points are the rows of [`POINT_ROWS`].
    pub has_point_rows: bool,
    /// Whether SAM 3's encoder has queries, keys and values apart.
    pub has_parts_of_qkv: bool,
    /// Whether SAM 3's positions begin with that of a class token, which it does not have.
    pub has_class_position: bool,
}

impl weights::Names for Names {
    fn recipe(&self, place: &Place) -> Recipe {
        let name = official_name(&place.path());
        let row = name
            .strip_prefix("prompt_encoder.point_embeddings.")
            .and_then(|rest| rest.strip_suffix(".weight"))
            .and_then(|row| row.parse().ok());
        if self.has_class_position && name == POSITIONS {
            return Recipe::WithoutFirst(name);
        }
        if self.has_parts_of_qkv
            && let Some((block, tensor)) = name.split_once(".attn.qkv.")
        {
            let part = |part: &str| format!("{block}.attn.{part}_proj.{tensor}");
            return Recipe::Stacked([part("q"), part("k"), part("v")]);
        }
        match row {
            Some(row) if self.has_point_rows => Recipe::Row(POINT_ROWS.to_owned(), [row, 4]),
            _ => Recipe::One(name),
        }
    }

    /// The frequencies of positions stay in f32, because their angles go through many turns.
    fn stays_f32(&self, name: &str) -> bool {
        name == POSITION_FREQUENCIES
    }
}

/// Saves a model as safetensors, with official names and with its sizes.
///
/// # Errors
/// [`crate::error::ModelError::SaveCheckpoint`] if the file cannot be written.
pub fn save(model: &Sam, path: impl AsRef<Path>, precision: WeightPrecision) -> Result<()> {
    weights::save(
        model,
        model.config(),
        &Names::default(),
        path.as_ref(),
        precision,
    )
}
