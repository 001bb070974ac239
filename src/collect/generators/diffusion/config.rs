//! The configurations in a folder of `diffusers`.

use std::path::Path;

use candle_transformers::models::stable_diffusion::unet_2d::{
    BlockConfig, UNet2DConditionModelConfig,
};
use candle_transformers::models::stable_diffusion::vae::AutoEncoderKLConfig;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::failed;
use crate::error::FileAction;
use crate::{Error, Result};

/// Channels of an image, and of its latents.
pub(super) const IMAGE_CHANNELS: usize = 3;

/// Reads a part's `config.json` or `scheduler_config.json`.
pub(super) fn read<T: DeserializeOwned>(folder: &Path, file: &str) -> Result<T> {
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).map_err(Error::file(FileAction::Read, &path))?;
    serde_json::from_str(&text).map_err(|err| failed(format!("'{}': {err}", path.display())))
}

/// One number for all blocks, or one for each.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum PerBlock {
    One(usize),
    Each(Vec<usize>),
}

/// `unet/config.json`
#[derive(Debug, Clone, Deserialize)]
pub(super) struct UnetConfig {
    pub in_channels: usize,
    pub out_channels: usize,
    block_out_channels: Vec<usize>,
    down_block_types: Vec<String>,
    /// What `diffusers` calls so is the number of heads of a block.
    attention_head_dim: PerBlock,
    layers_per_block: usize,
    cross_attention_dim: usize,
    norm_num_groups: usize,
    norm_eps: f64,
    #[serde(default)]
    use_linear_projection: bool,
    #[serde(default)]
    center_input_sample: bool,
    flip_sin_to_cos: bool,
    freq_shift: f64,
    #[serde(default)]
    addition_embed_type: Value,
    #[serde(default)]
    class_embed_type: Value,
}

impl UnetConfig {
    /// The network's configuration.
    ///
    /// # Errors
    /// For networks of other families, such as SDXL's.
    pub fn network(&self) -> Result<UNet2DConditionModelConfig> {
        if !self.addition_embed_type.is_null() || !self.class_embed_type.is_null() {
            return Err(failed(
                "the UNet is of another family (SDXL, or one with classes); v1, 2.x and SD-Turbo are supported",
            ));
        }
        let blocks = self.block_out_channels.iter().zip(&self.down_block_types);
        let blocks = blocks.enumerate().map(|(at, (channels, kind))| {
            let heads = match &self.attention_head_dim {
                PerBlock::One(heads) => Some(*heads),
                PerBlock::Each(heads) => heads.get(at).copied(),
            };
            let use_cross_attn = match kind.as_str() {
                "CrossAttnDownBlock2D" => Some(1),
                "DownBlock2D" => None,
                other => {
                    return Err(failed(format!(
                        "the UNet has a block '{other}', which is not supported"
                    )));
                }
            };
            Ok(BlockConfig {
                out_channels: *channels,
                use_cross_attn,
                attention_head_dim: heads
                    .ok_or_else(|| failed("the UNet has fewer numbers of heads than blocks"))?,
            })
        });
        Ok(UNet2DConditionModelConfig {
            center_input_sample: self.center_input_sample,
            flip_sin_to_cos: self.flip_sin_to_cos,
            freq_shift: self.freq_shift,
            blocks: blocks.collect::<Result<_>>()?,
            layers_per_block: self.layers_per_block,
            norm_num_groups: self.norm_num_groups,
            norm_eps: self.norm_eps,
            cross_attention_dim: self.cross_attention_dim,
            use_linear_projection: self.use_linear_projection,
            ..UNet2DConditionModelConfig::default()
        })
    }
}

/// `vae/config.json`
#[derive(Debug, Clone, Deserialize)]
pub(super) struct VaeConfig {
    block_out_channels: Vec<usize>,
    layers_per_block: usize,
    pub latent_channels: usize,
    norm_num_groups: usize,
    /// Latents are the encoder's, times this. Older folders leave it out.
    #[serde(default = "scaling_factor")]
    pub scaling_factor: f64,
    #[serde(default = "yes")]
    use_quant_conv: bool,
    #[serde(default = "yes")]
    use_post_quant_conv: bool,
}

fn scaling_factor() -> f64 {
    0.18215
}

fn yes() -> bool {
    true
}

impl VaeConfig {
    /// Pixels of an image's side for one of its latents.
    pub fn factor(&self) -> usize {
        1 << self.block_out_channels.len().saturating_sub(1)
    }

    /// The network's configuration.
    pub fn network(&self) -> AutoEncoderKLConfig {
        AutoEncoderKLConfig {
            block_out_channels: self.block_out_channels.clone(),
            layers_per_block: self.layers_per_block,
            latent_channels: self.latent_channels,
            norm_num_groups: self.norm_num_groups,
            use_quant_conv: self.use_quant_conv,
            use_post_quant_conv: self.use_post_quant_conv,
        }
    }
}

/// `text_encoder/config.json`
#[derive(Debug, Clone, Deserialize)]
pub(super) struct TextConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub max_position_embeddings: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub hidden_act: String,
    pub layer_norm_eps: f64,
}

/// `scheduler/scheduler_config.json`
#[derive(Debug, Clone, Deserialize)]
pub(super) struct SchedulerConfig {
    pub num_train_timesteps: usize,
    pub beta_start: f64,
    pub beta_end: f64,
    pub beta_schedule: String,
    #[serde(default = "epsilon")]
    pub prediction_type: String,
    #[serde(default = "leading")]
    pub timestep_spacing: String,
    #[serde(default)]
    pub steps_offset: usize,
    #[serde(default)]
    pub set_alpha_to_one: Option<bool>,
}

fn epsilon() -> String {
    "epsilon".to_owned()
}

fn leading() -> String {
    "leading".to_owned()
}
