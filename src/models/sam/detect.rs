//! Derives a model's sizes from the shapes of its weights.

#![allow(
    clippy::indexing_slicing,
    reason = "the stages are four, and each size is an array of four"
)]

use super::config::{DecoderConfig, EncoderConfig, PATCH_SIZE, SamConfig, VitConfig};
use super::hiera_config::HieraConfig;
use super::preprocess::PixelTransform;
use super::sam3_config::Sam3VitConfig;
use super::tiny_vit::TinyVitConfig;
use super::{sam2_names, sam3_names};
use crate::models::checkpoint::Weights;
use crate::models::error::Result;
use crate::models::family::Family;

/// Whether a checkpoint of a family may hold a tensor that the model does not use: MobileSAM's classifier, what SAM 2 needs for
/// videos, and what SAM 3 finds objects with, counters and index tables that torch saves beside weights.
pub(super) fn is_unused(family: Family, name: &str) -> bool {
    matches!(family, Family::Sam2 | Family::Sam3) && sam2_names::is_of_videos(name)
        || family == Family::Sam3 && sam3_names::is_unused(name)
        || name.starts_with("image_encoder.head.")
        || name.starts_with("image_encoder.norm_head.")
        || name.ends_with(".num_batches_tracked")
        || name.ends_with(".attention_bias_idxs")
}

/// The sizes of the model in a checkpoint.
///
/// # Errors
/// [`ModelError::CheckpointTensors`] if a tensor that determines a size is missing or has another rank.
pub(super) fn config(checkpoint: &Weights) -> Result<SamConfig> {
    let shapes = Shapes(checkpoint);
    let [_, prompt_dim] = shapes.of("prompt_encoder.no_mask_embed.weight")?;
    let [mask_channels, ..]: [usize; 4] = shapes.of("prompt_encoder.mask_downscaling.3.weight")?;
    let tiny = checkpoint
        .shape("image_encoder.patch_embed.seq.0.c.weight")
        .is_some();
    let is_hiera = checkpoint.shape("image_encoder.trunk.pos_embed").is_some();
    let is_sam3 = checkpoint
        .shape("image_encoder.trunk.ln_pre.weight")
        .is_some();
    let (image_size, encoder) = if is_sam3 {
        (1008, EncoderConfig::Sam3Vit(shapes.sam3_vit()?))
    } else if tiny {
        (1024, EncoderConfig::TinyVit(shapes.tiny_vit()?))
    } else if is_hiera {
        (1024, EncoderConfig::Hiera(shapes.hiera()?))
    } else {
        let (grid, vit) = shapes.vit()?;
        (grid * PATCH_SIZE, EncoderConfig::Vit(vit))
    };
    Ok(SamConfig {
        image_size,
        encoder,
        prompt_dim,
        mask_channels,
        decoder: shapes.decoder(prompt_dim)?,
        pixels: PixelTransform::default(),
    })
}

struct Shapes<'a>(&'a Weights);

impl Shapes<'_> {
    fn of<const N: usize>(&self, name: &str) -> Result<[usize; N]> {
        self.0.shape_of(name)
    }

    fn count(&self, prefix: &str) -> usize {
        self.0.children(prefix)
    }

    /// The grid side and the sizes of a plain vision transformer.
    fn vit(&self) -> Result<(usize, VitConfig)> {
        let [_, grid, _, embed_dim] = self.of("image_encoder.pos_embed")?;
        let depth = self.count("image_encoder.blocks.");
        let block = |i: usize, name: &str| format!("image_encoder.blocks.{i}.{name}");
        let [_, head_dim] = self.of(&block(0, "attn.rel_pos_h"))?;
        let [mlp_dim, _] = self.of(&block(0, "mlp.lin1.weight"))?;
        let mut window_size = grid;
        let mut global_attention_blocks = Vec::new();
        for i in 0..depth {
            let [offsets, _] = self.of(&block(i, "attn.rel_pos_h"))?;
            match offsets.div_ceil(2) {
                side if side == grid => global_attention_blocks.push(i),
                side => window_size = side,
            }
        }
        let vit = VitConfig {
            embed_dim,
            depth,
            heads: embed_dim / head_dim.max(1),
            mlp_dim,
            window_size,
            global_attention_blocks,
        };
        Ok((grid, vit))
    }

    /// The sizes of the published Hiera with as many blocks and channels. Of any other, windows and heads are those of the
    /// smallest published one, which a `config.json` may correct.
    fn hiera(&self) -> Result<HieraConfig> {
        let trunk = "image_encoder.trunk.";
        let [_, embed_dim, rows, columns] = self.of(&format!("{trunk}pos_embed"))?;
        let mut stages = [0; 4];
        let mut stage = 0;
        for i in 0..self.count(&format!("{trunk}blocks.")) {
            let [joint, from] = self.of(&format!("{trunk}blocks.{i}.attn.qkv.weight"))?;
            // The first block of a stage has more channels after it than before.
            stage += usize::from(joint != 3 * from);
            if let Some(count) = stages.get_mut(stage) {
                *count += 1;
            }
        }
        let found = HieraConfig::published(embed_dim, stages);
        Ok(HieraConfig {
            embed_dim,
            stages,
            position_table: [rows, columns],
            ..found.unwrap_or_else(HieraConfig::tiny)
        })
    }

    /// Heads, windows and blocks that attend to the whole image are those of the published model, which a `config.json` may
    /// correct.
    fn sam3_vit(&self) -> Result<Sam3VitConfig> {
        let trunk = "image_encoder.trunk.";
        let [_, rows, embed_dim] = self.of(&format!("{trunk}pos_embed"))?;
        let [_, _, patch_size, _] = self.of(&format!("{trunk}patch_embed.proj.weight"))?;
        let [mlp_dim, _] = self.of(&format!("{trunk}blocks.0.mlp.lin1.weight"))?;
        let depth = self.count(&format!("{trunk}blocks."));
        let published = Sam3VitConfig::published();
        let mut global_attention_blocks = published.global_attention_blocks;
        global_attention_blocks.retain(|block| *block < depth);
        Ok(Sam3VitConfig {
            embed_dim,
            depth,
            mlp_dim,
            patch_size,
            // A class token may have a position, too.
            position_table: rows.isqrt(),
            global_attention_blocks,
            ..published
        })
    }

    fn tiny_vit(&self) -> Result<TinyVitConfig> {
        let published = TinyVitConfig::default();
        let [hidden, dim, ..]: [usize; 4] =
            self.of("image_encoder.layers.0.blocks.0.conv1.c.weight")?;
        let mut config = TinyVitConfig {
            mlp_ratio: hidden / dim.max(1),
            ..published
        };
        config.embed_dims[0] = dim;
        config.depths[0] = self.count("image_encoder.layers.0.blocks.");
        for stage in 1..4 {
            let layer = format!("image_encoder.layers.{stage}.blocks.");
            let [_, dim] = self.of(&format!("{layer}0.attn.qkv.weight"))?;
            let [heads, cells] = self.of(&format!("{layer}0.attn.attention_biases"))?;
            config.embed_dims[stage] = dim;
            config.depths[stage] = self.count(&layer);
            config.heads[stage] = heads;
            config.window_sizes[stage] = cells.isqrt();
        }
        Ok(config)
    }

    fn decoder(&self, prompt_dim: usize) -> Result<DecoderConfig> {
        let layers = "mask_decoder.transformer.layers.";
        let [mlp_dim, _] = self.of(&format!("{layers}0.mlp.lin1.weight"))?;
        let [inner, _] = self.of(&format!(
            "{layers}0.cross_attn_token_to_image.q_proj.weight"
        ))?;
        let [outputs, _] = self.of("mask_decoder.mask_tokens.weight")?;
        let iou_head = "mask_decoder.iou_prediction_head.layers.";
        let [iou_head_hidden, _] = self.of(&format!("{iou_head}0.weight"))?;
        let early = "mask_decoder.compress_vit_feat.0.weight";
        let hq_channels = match self.0.shape(early) {
            Some(_) => {
                let [channels, ..]: [usize; 4] = self.of(early)?;
                Some(channels)
            }
            None => None,
        };
        Ok(DecoderConfig {
            depth: self.count(layers),
            mlp_dim,
            attention_downsample: prompt_dim / inner.max(1),
            multimask_outputs: outputs.saturating_sub(1),
            iou_head_depth: self.count(iou_head),
            iou_head_hidden,
            hq_channels,
            ..DecoderConfig::default()
        })
    }
}
