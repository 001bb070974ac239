//! Sizes of SAM 3's image encoder (upstream: transformers, `configuration_sam3.py`).

use serde::{Deserialize, Serialize};

use super::sizes::{MOST_LAYERS, require, require_windows};
use crate::models::error::Result;

/// Sizes of SAM 3's image encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sam3VitConfig {
    /// Channels of a token.
    pub embed_dim: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads. Must divide `embed_dim`.
    pub heads: usize,
    /// Hidden channels of a block's MLP.
    pub mlp_dim: usize,
    /// Pixels of the model input per token, along each axis.
    pub patch_size: usize,
    /// Side of an attention window in tokens.
    pub window_size: usize,
    /// Blocks that attend to the complete image, counted from 0.
    pub global_attention_blocks: Vec<usize>,
    /// Side of the table of positions in tokens, which is repeated over the image.
    pub position_table: usize,
    /// Value that layer normalisation adds to the variance: 1e-5 in the official package, 1e-6 in transformers' default config.
    pub epsilon: f64,
}

impl Sam3VitConfig {
    /// The sizes of the published model.
    pub(super) fn published() -> Self {
        Self {
            embed_dim: 1024,
            depth: 32,
            heads: 16,
            mlp_dim: 4736,
            patch_size: 14,
            window_size: 24,
            global_attention_blocks: vec![7, 15, 23, 31],
            position_table: 24,
            epsilon: 1e-5,
        }
    }

    /// # Errors
    /// [`crate::error::ModelError::ModelConfig`] if the sizes do not fit together.
    pub(super) fn check(&self, image_size: usize) -> Result<()> {
        let Self {
            embed_dim, heads, ..
        } = *self;
        require(
            heads > 0 && embed_dim > 0 && embed_dim.is_multiple_of(4 * heads),
            || format!("embed_dim {embed_dim} is not a multiple of 4 x heads {heads}"),
        )?;
        require((1..=MOST_LAYERS).contains(&self.depth), || {
            format!("depth is {}; expected 1 to {MOST_LAYERS}", self.depth)
        })?;
        require(
            self.patch_size > 0 && image_size.is_multiple_of(self.patch_size),
            || {
                format!(
                    "image_size {image_size} is not a multiple of patch_size {}",
                    self.patch_size
                )
            },
        )?;
        let grid = image_size / self.patch_size;
        require_windows(
            self.window_size,
            grid,
            &self.global_attention_blocks,
            self.depth,
        )?;
        require((0.0..1.0).contains(&self.epsilon), || {
            format!("epsilon is {}; expected 0 to below 1", self.epsilon)
        })?;
        require(self.position_table > 0 && self.mlp_dim > 0, || {
            "position_table or mlp_dim is 0; expected 1 or more".to_owned()
        })
    }
}
