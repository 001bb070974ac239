//! Reads sizes from a `config.json` that the shapes of weights do not determine.
//!
//! In: the file that Hugging Face's `save_pretrained` writes. Out: the decoder's attention heads, and for SAM 2 and 3 the side of
//! their input and the encoder's heads and windows. All other sizes are derived from the weights.

use std::path::Path;

use serde::Deserialize;

use super::config::{EncoderConfig, SamConfig};
use super::hiera_config::HieraConfig;
use super::sam3_config::Sam3VitConfig;
use super::sizes::MOST_LAYERS;
use crate::models::checkpoint::read_text;
use crate::models::error::{ModelError, Result};
use crate::models::family::Family;

/// Limit on the size of a config. Those of published models take 1 KB.
const MAX_BYTES: u64 = 1 << 20;

/// Sizes that the weights do not show.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    decoder_heads: Option<usize>,
    backbone: BackboneConfig,
}

#[derive(Deserialize)]
struct ModelConfig {
    model_type: Option<String>,
    mask_decoder_config: Option<DecoderConfig>,
    vision_config: Option<VisionConfig>,
    /// SAM 3 with its detector: its tracker.
    tracker_config: Option<Box<ModelConfig>>,
    /// SAM 3 with its detector: the detector, whose image encoder the tracker shares.
    detector_config: Option<Box<ModelConfig>>,
}

#[derive(Deserialize)]
struct DecoderConfig {
    num_attention_heads: Option<usize>,
    dynamic_multimask_via_stability: Option<bool>,
}

#[derive(Deserialize)]
struct VisionConfig {
    backbone_config: Option<BackboneConfig>,
}

/// The sizes of Hiera, or of SAM 3's encoder.
#[derive(Debug, Default, Deserialize)]
struct BackboneConfig {
    image_size: Option<ImageSize>,
    num_attention_heads: Option<usize>,
    window_size: Option<usize>,
    layer_norm_eps: Option<f64>,
    global_attn_indexes: Option<Vec<usize>>,
    num_attention_heads_per_stage: Option<[usize; 4]>,
    window_size_per_stage: Option<[usize; 4]>,
    global_attention_blocks: Option<Vec<usize>>,
}

/// Height and width of the input in pixels, or one for both.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
enum ImageSize {
    Square(usize),
    Sides([usize; 2]),
}

impl ImageSize {
    const fn sides(self) -> [usize; 2] {
        match self {
            Self::Square(side) => [side; 2],
            Self::Sides(sides) => sides,
        }
    }
}

impl BackboneConfig {
    fn heads(&self) -> Option<usize> {
        self.num_attention_heads_per_stage.map(|[first, ..]| first)
    }
}

impl Sizes {
    /// What the weights of a Hiera or a SAM 3 show, if it is not a published one's and these sizes lack those that do not
    /// show.
    pub(super) fn missing_for(&self, config: &SamConfig) -> Option<String> {
        let backbone = &self.backbone;
        match &config.encoder {
            EncoderConfig::Hiera(hiera) => {
                let is_complete = backbone.num_attention_heads_per_stage.is_some()
                    && backbone.window_size_per_stage.is_some()
                    && backbone.global_attention_blocks.is_some();
                let is_published = HieraConfig::published(hiera.embed_dim, hiera.stages).is_some();
                (!is_complete && !is_published).then(|| {
                    let (stages, channels) = (hiera.stages, hiera.embed_dim);
                    format!("a SAM 2 model with {stages:?} blocks and {channels} channels")
                })
            }
            EncoderConfig::Sam3Vit(vit) => {
                let is_complete = backbone.num_attention_heads.is_some()
                    && backbone.window_size.is_some()
                    && backbone.global_attn_indexes.is_some();
                let published = Sam3VitConfig::published();
                let is_published =
                    (vit.embed_dim, vit.depth) == (published.embed_dim, published.depth);
                (!is_complete && !is_published).then(|| {
                    let (depth, channels) = (vit.depth, vit.embed_dim);
                    format!("a SAM 3 model with {depth} blocks and {channels} channels")
                })
            }
            EncoderConfig::Vit(_) | EncoderConfig::TinyVit(_) => None,
        }
    }

    /// Replaces sizes of a config with those that are given here.
    pub(super) fn correct(&self, config: &mut SamConfig) {
        if let Some(heads) = self.decoder_heads {
            config.decoder.heads = heads;
        }
        if let EncoderConfig::Hiera(hiera) = &mut config.encoder {
            let backbone = &self.backbone;
            hiera.heads = backbone.heads().unwrap_or(hiera.heads);
            hiera.windows = backbone.window_size_per_stage.unwrap_or(hiera.windows);
            if let Some(blocks) = &backbone.global_attention_blocks {
                hiera.global_attention_blocks.clone_from(blocks);
            }
        }
        if let EncoderConfig::Sam3Vit(vit) = &mut config.encoder {
            let backbone = &self.backbone;
            vit.heads = backbone.num_attention_heads.unwrap_or(vit.heads);
            vit.window_size = backbone.window_size.unwrap_or(vit.window_size);
            vit.epsilon = backbone.layer_norm_eps.unwrap_or(vit.epsilon);
            if let Some(blocks) = &backbone.global_attn_indexes {
                vit.global_attention_blocks.clone_from(blocks);
            }
        }
        if config.is_sam2_or_3()
            && let Some(size) = self.backbone.image_size
        {
            [config.image_size, _] = size.sides();
        }
    }
}

/// The sizes that a file gives, which stands beside weights of a family.
///
/// # Errors
/// [`ModelError::OpenCheckpoint`]; [`ModelError::CheckpointConfig`] if the file belongs to another model or is not such a
/// config.
pub(super) fn read(path: &Path, family: Family) -> Result<Sizes> {
    let wrong = |reason: String| ModelError::CheckpointConfig {
        path: path.to_owned(),
        reason,
    };
    let text = read_text(path, MAX_BYTES)?;
    let config: ModelConfig =
        serde_json::from_str(&text).map_err(|err| wrong(format!("expected JSON: {err}")))?;
    let expected: &[&str] = match family {
        Family::Sam2 => &["sam2", "sam2_video"],
        Family::Sam3 => &["sam3_tracker", "sam3_tracker_video", "sam3_video"],
        _ => &["sam", "sam_hq"],
    };
    let found = config.model_type.as_deref();
    if let Some(other) = found.filter(|found| !expected.contains(found)) {
        return Err(wrong(format!(
            "its 'model_type' is '{other}'; expected '{}'",
            expected.join("' or '")
        )));
    }
    let of_detector = config.detector_config.and_then(|it| it.vision_config);
    let (decoder, vision) = match config.tracker_config {
        Some(tracker) => (
            tracker.mask_decoder_config,
            of_detector.or(tracker.vision_config),
        ),
        None => (config.mask_decoder_config, config.vision_config),
    };
    if decoder
        .as_ref()
        .and_then(|it| it.dynamic_multimask_via_stability)
        == Some(false)
    {
        return Err(wrong(
            "'mask_decoder_config.dynamic_multimask_via_stability' is false; expected true"
                .to_owned(),
        ));
    }
    let decoder_heads = decoder.and_then(|it| it.num_attention_heads);
    let backbone = vision.and_then(|it| it.backbone_config);
    let backbone = backbone.unwrap_or_default();
    let counts = [
        ("mask_decoder_config.num_attention_heads", decoder_heads),
        (
            "vision_config.backbone_config.num_attention_heads",
            backbone.num_attention_heads,
        ),
        (
            "vision_config.backbone_config.num_attention_heads_per_stage",
            backbone.heads(),
        ),
    ];
    for (key, heads) in counts {
        if let Some(heads) = heads.filter(|heads| !(1..=MOST_LAYERS).contains(heads)) {
            return Err(wrong(format!(
                "'{key}' is {heads}; expected 1 to {MOST_LAYERS}"
            )));
        }
    }
    if let Some(heads) = backbone.num_attention_heads_per_stage {
        let doubled = backbone
            .heads()
            .map(|first| [0, 1, 2, 3].map(|stage| first << stage));
        if doubled != Some(heads) {
            return Err(wrong(format!(
                "'vision_config.backbone_config.num_attention_heads_per_stage' is {heads:?}; expected each twice the one before"
            )));
        }
    }
    match backbone.image_size.map(ImageSize::sides) {
        Some([height, width]) if height != width => Err(wrong(format!(
            "'vision_config.backbone_config.image_size' is {height} x {width}; expected a square"
        ))),
        _ => Ok(Sizes {
            decoder_heads,
            backbone,
        }),
    }
}
