//! Sizes of Hiera, SAM 2's image encoder (upstream: `hieradet.py`, `configs/sam2.1/*.yaml`).

use serde::{Deserialize, Serialize};

use super::sizes::{LARGEST_WINDOW, MOST_LAYERS, require};
use crate::models::error::Result;

/// Pixels of the model input per token of the first stage, along each axis.
pub(super) const FIRST_PATCH: usize = 4;

/// Sizes of Hiera.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HieraConfig {
    /// Channels of a token in the first stage; each stage has twice those of the one before it.
    pub embed_dim: usize,
    /// Attention heads in the first stage; each stage has twice those of the one before it.
    pub heads: usize,
    /// Blocks of each stage.
    pub stages: [usize; 4],
    /// Side of an attention window in tokens, of each stage.
    pub windows: [usize; 4],
    /// Blocks that attend to the complete image, counted from 0 over all stages.
    pub global_attention_blocks: Vec<usize>,
    /// Rows and columns of the table of positions over the whole image.
    pub position_table: [usize; 2],
}

/// Sizes of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HieraBlockConfig {
    /// Channels of its input.
    pub from: usize,
    /// Channels of its output.
    pub to: usize,
    /// Attention heads.
    pub heads: usize,
    /// Side of an attention window in tokens of the input; `None` if it attends to the complete image.
    pub window: Option<usize>,
    /// Whether it halves rows and columns: the first of every stage but the first.
    pub is_pooling: bool,
}

impl HieraConfig {
    /// The sizes of a published model, from those that its weights show.
    pub(super) fn published(embed_dim: usize, stages: [usize; 4]) -> Option<Self> {
        let all = [
            Self::tiny(),
            Self::small(),
            Self::base_plus(),
            Self::large(),
        ];
        let mut all = all.into_iter();
        all.find(|it| it.embed_dim == embed_dim && it.stages == stages)
    }

    pub(super) fn tiny() -> Self {
        Self {
            embed_dim: 96,
            heads: 1,
            stages: [1, 2, 7, 2],
            windows: [8, 4, 14, 7],
            global_attention_blocks: vec![5, 7, 9],
            position_table: [7, 7],
        }
    }

    pub(super) fn small() -> Self {
        Self {
            stages: [1, 2, 11, 2],
            global_attention_blocks: vec![7, 10, 13],
            ..Self::tiny()
        }
    }

    pub(super) fn base_plus() -> Self {
        Self {
            embed_dim: 112,
            heads: 2,
            stages: [2, 3, 16, 3],
            global_attention_blocks: vec![12, 16, 20],
            position_table: [14, 14],
            ..Self::tiny()
        }
    }

    pub(super) fn large() -> Self {
        Self {
            embed_dim: 144,
            heads: 2,
            stages: [2, 6, 36, 4],
            windows: [8, 4, 16, 8],
            global_attention_blocks: vec![23, 33, 43],
            ..Self::tiny()
        }
    }

    /// Channels of a stage, counted from 0.
    pub(super) const fn channels_of(&self, stage: usize) -> usize {
        self.embed_dim << stage
    }

    /// Side of a window in the first stage, and of the table of positions within a window.
    pub(super) const fn first_window(&self) -> usize {
        let [first, ..] = self.windows;
        first
    }

    /// The sizes of all blocks.
    pub(super) fn blocks(&self) -> Vec<HieraBlockConfig> {
        let mut blocks = Vec::new();
        let mut window_before = self.first_window();
        for (stage, (count, window)) in self.stages.into_iter().zip(self.windows).enumerate() {
            for i in 0..count {
                let is_pooling = stage > 0 && i == 0;
                let is_global = self.global_attention_blocks.contains(&blocks.len());
                // A stage's first block works on the windows of the stage before it, and halves them.
                let side = if is_pooling { window_before } else { window };
                blocks.push(HieraBlockConfig {
                    from: self.channels_of(stage - usize::from(is_pooling)),
                    to: self.channels_of(stage),
                    heads: self.heads << stage,
                    window: (!is_global).then_some(side),
                    is_pooling,
                });
            }
            window_before = window;
        }
        blocks
    }

    /// # Errors
    /// [`crate::error::ModelError::ModelConfig`] if the sizes do not fit together.
    pub(super) fn check(&self, image_size: usize) -> Result<()> {
        let Self {
            embed_dim, heads, ..
        } = *self;
        require(
            heads > 0 && embed_dim > 0 && embed_dim.is_multiple_of(heads),
            || format!("embed_dim {embed_dim} is not a multiple of heads {heads}"),
        )?;
        let blocks: usize = self.stages.iter().sum();
        require(
            self.stages
                .iter()
                .all(|count| (1..=MOST_LAYERS).contains(count)),
            || {
                format!(
                    "stages {:?} need 1 to {MOST_LAYERS} blocks each",
                    self.stages
                )
            },
        )?;
        require(
            self.global_attention_blocks.iter().all(|&i| i < blocks),
            || {
                format!(
                    "global attention blocks {:?} go past the {blocks} blocks",
                    self.global_attention_blocks
                )
            },
        )?;
        require(self.position_table.iter().all(|side| *side > 0), || {
            format!("position_table {:?} has no cells", self.position_table)
        })?;
        let halved = self.blocks().into_iter().filter(|block| block.is_pooling);
        let mut halved = halved.filter_map(|block| block.window);
        let tokens = image_size / FIRST_PATCH;
        let sides = 1..=tokens.max(LARGEST_WINDOW);
        require(
            self.windows.iter().all(|side| sides.contains(side))
                && halved.all(|side| side.is_multiple_of(2)),
            || {
                format!(
                    "windows {:?} cannot be halved, or are larger than the {tokens} tokens of a side",
                    self.windows
                )
            },
        )?;
        let first = self.first_window();
        require(
            image_size.is_multiple_of(2 * super::PATCH_SIZE) && tokens.is_multiple_of(first),
            || {
                format!(
                    "image_size {image_size} is not a multiple of 32 and of {FIRST_PATCH} x window {first}"
                )
            },
        )
    }
}
