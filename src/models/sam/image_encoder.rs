//! The plain vision transformer that turns an image into its embedding (upstream: `image_encoder.py`).
//!
//! In: normalised, padded pixels. Out: one feature vector per 16x16 patch. Most blocks attend within windows, a few to
//! the complete image. Both kinds add decomposed relative positions.

use burn::module::{Initializer, Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor};

use super::config::{PATCH_SIZE, VitConfig};
use crate::models::layers::{
    Activation, LAYER_NORM_EPSILON, LayerNorm2d, MlpBlock, PatchEmbed, PatchEmbedSizes,
};
use crate::models::layers::{RelativePosition, RelativePositionTables};
use crate::models::layers::{ScoreBias, attention};

/// The image encoder of vit_b, vit_l and vit_h.
#[derive(Module, Debug)]
pub struct ImageEncoderVit {
    /// Converts pixels to tokens.
    pub patch_embed: PatchEmbed,
    /// Absolute position of each token, `[1, grid, grid, embed_dim]`.
    pub pos_embed: Param<Tensor<4>>,
    /// Transformer blocks.
    pub blocks: Vec<Block>,
    /// Converts tokens to the image embedding.
    pub neck: Neck,
}

impl ImageEncoderVit {
    /// Creates an encoder for inputs of `PATCH_SIZE * grid` pixels per side, with random weights.
    pub fn new(config: &VitConfig, grid: usize, out_channels: usize, device: &Device) -> Self {
        let dim = config.embed_dim;
        let patch_embed = PatchEmbedSizes {
            dim,
            patch: PATCH_SIZE,
            has_bias: true,
        };
        let blocks = (0..config.depth)
            .map(|i| Block::new(config, config.window_of_block(i), grid, device))
            .collect();
        Self {
            patch_embed: PatchEmbed::new(patch_embed, device),
            pos_embed: Initializer::Zeros.init([1, grid, grid, dim], device),
            blocks,
            neck: Neck::new(dim, out_channels, device),
        }
    }

    /// Encodes images.
    ///
    /// # Shapes
    /// - pixels: `[batch, 3, 16 * grid, 16 * grid]`, normalised and padded
    /// - output: `[batch, out_channels, grid, grid]`, and what the first block that attends to the complete image gives, which
    ///   HQ-SAM uses: `[batch, embed_dim, grid, grid]`
    pub fn forward(&self, pixels: Tensor<4>) -> (Tensor<4>, Option<Tensor<4>>) {
        let mut tokens = self.patch_embed.forward(pixels) + self.pos_embed.val();
        let mut early = None;
        for block in &self.blocks {
            tokens = block.forward(tokens);
            if early.is_none() && block.window.is_none() {
                early = Some(tokens.clone().permute([0, 3, 1, 2]));
            }
        }
        (self.neck.forward(tokens), early)
    }
}

impl VitConfig {
    /// Side of the attention windows of block `index`; `None` if it attends to the complete image.
    fn window_of_block(&self, index: usize) -> Option<usize> {
        (!self.global_attention_blocks.contains(&index)).then_some(self.window_size)
    }
}

/// One transformer block.
#[derive(Module, Debug)]
pub struct Block {
    /// Normalisation before attention.
    pub norm1: LayerNorm,
    /// Self-attention.
    pub attn: Attention,
    /// Normalisation before the MLP.
    pub norm2: LayerNorm,
    /// Two layers with GELU between them.
    pub mlp: MlpBlock,
    #[module(skip)]
    window: Option<usize>,
}

impl Block {
    fn new(config: &VitConfig, window: Option<usize>, grid: usize, device: &Device) -> Self {
        let dim = config.embed_dim;
        let norm = LayerNormConfig::new(dim).with_epsilon(LAYER_NORM_EPSILON);
        Self {
            norm1: norm.init(device),
            attn: Attention::new(dim, config.heads, window.unwrap_or(grid), device),
            norm2: norm.init(device),
            mlp: MlpBlock::new(dim, config.mlp_dim, Activation::Gelu, device),
            window,
        }
    }

    /// # Shapes
    /// - input and output: `[batch, height, width, dim]`
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let normed = self.norm1.forward(input.clone());
        let attended = match self.window {
            None => self.attn.forward(normed),
            Some(window) => {
                let [batch, height, width, _] = normed.dims();
                let windows = self.attn.forward(window_partition(normed, window));
                window_unpartition(windows, [batch, height, width])
            }
        };
        let residual = input + attended;
        let mlp = self.mlp.forward(self.norm2.forward(residual.clone()));
        residual + mlp
    }
}

/// Multi-head self-attention with decomposed relative positions.
#[derive(Module, Debug)]
pub struct Attention {
    /// Joint projection to queries, keys and values.
    pub qkv: Linear,
    /// Projection of the joined heads.
    pub proj: Linear,
    /// Vertical relative positions, `[2 * side - 1, dim / heads]`.
    pub rel_pos_h: Param<Tensor<2>>,
    /// Horizontal relative positions, `[2 * side - 1, dim / heads]`.
    pub rel_pos_w: Param<Tensor<2>>,
    heads: usize,
}

impl Attention {
    fn new(dim: usize, heads: usize, side: usize, device: &Device) -> Self {
        let table = [2 * side - 1, dim / heads];
        Self {
            qkv: LinearConfig::new(dim, 3 * dim).init(device),
            proj: LinearConfig::new(dim, dim).init(device),
            rel_pos_h: Initializer::Zeros.init(table, device),
            rel_pos_w: Initializer::Zeros.init(table, device),
            heads,
        }
    }

    /// # Shapes
    /// - input and output: `[batch, height, width, dim]`
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let [batch, height, width, dim] = input.dims();
        let (tokens, head_dim) = (height * width, dim / self.heads);
        let qkv = self
            .qkv
            .forward(input)
            .reshape([batch, tokens, 3, self.heads, head_dim])
            .permute([2, 0, 3, 1, 4]);
        let [q, k, v] = [0, 1, 2].map(|i| qkv.clone().narrow(0, i, 1).squeeze_dim::<4>(0));
        drop(qkv);

        let tables = RelativePositionTables {
            height: self.rel_pos_h.val(),
            width: self.rel_pos_w.val(),
        };
        let position = RelativePosition::new(q.clone(), tables, [height, width]);
        let scale = (head_dim as f64).powf(-0.5);
        let attended = attention(q, k, v, scale, Some(ScoreBias::Decomposed(position)));
        let joined = attended
            .swap_dims(1, 2)
            .reshape([batch, height, width, dim]);
        self.proj.forward(joined)
    }
}

/// Converts tokens to the image embedding.
#[derive(Module, Debug)]
pub struct Neck {
    /// 1x1 convolution without bias (upstream: `neck.0`).
    pub conv1: Conv2d,
    /// Upstream: `neck.1`.
    pub norm1: LayerNorm2d,
    /// 3x3 convolution without bias (upstream: `neck.2`).
    pub conv2: Conv2d,
    /// Upstream: `neck.3`.
    pub norm2: LayerNorm2d,
}

impl Neck {
    /// Creates a neck with random weights.
    pub(super) fn new(dim: usize, out_channels: usize, device: &Device) -> Self {
        let conv2 = Conv2dConfig::new([out_channels, out_channels], [3, 3])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .with_bias(false);
        Self {
            conv1: Conv2dConfig::new([dim, out_channels], [1, 1])
                .with_bias(false)
                .init(device),
            norm1: LayerNorm2d::new(out_channels, device),
            conv2: conv2.init(device),
            norm2: LayerNorm2d::new(out_channels, device),
        }
    }

    /// # Shapes
    /// - tokens: `[batch, height, width, dim]`
    /// - output: `[batch, out_channels, height, width]`
    pub(super) fn forward(&self, tokens: Tensor<4>) -> Tensor<4> {
        let weight = self.conv1.weight.val();
        let [out_channels, dim, ..] = weight.dims();
        let weight = weight.reshape([out_channels, dim]).transpose();
        let projected = tokens.matmul(weight.unsqueeze());
        let normed = self.norm1.forward_channels_last(projected);
        let mixed = self.conv2.forward(normed.permute([0, 3, 1, 2]));
        self.norm2.forward(mixed)
    }
}

/// Cuts a token grid into square windows. The bottom and right are padded with zeros.
///
/// # Shapes
/// - tokens: `[batch, height, width, dim]`
/// - output: `[batch * windows, window, window, dim]`
pub(super) fn window_partition(tokens: Tensor<4>, window: usize) -> Tensor<4> {
    let [batch, height, width, dim] = tokens.dims();
    let (rows, columns) = (height.div_ceil(window), width.div_ceil(window));
    let (padded_height, padded_width) = (rows * window, columns * window);
    let mut padded = tokens;
    if padded_height > height || padded_width > width {
        let device = padded.device();
        let zeros = Tensor::zeros(
            [batch, padded_height, padded_width, dim],
            (&device, padded.dtype()),
        );
        padded = zeros.slice_assign([0..batch, 0..height, 0..width, 0..dim], padded);
    }
    padded
        .reshape([batch, rows, window, columns, window, dim])
        .swap_dims(2, 3)
        .reshape([batch * rows * columns, window, window, dim])
}

/// Undoes [`window_partition`] for a grid of `[batch, height, width]` tokens.
///
/// # Shapes
/// - windows: `[batch * windows, window, window, dim]`
/// - output: `[batch, height, width, dim]`
pub(super) fn window_unpartition(windows: Tensor<4>, grid: [usize; 3]) -> Tensor<4> {
    let [_, window, _, dim] = windows.dims();
    let [batch, height, width] = grid;
    let (rows, columns) = (height.div_ceil(window), width.div_ceil(window));
    windows
        .reshape([batch, rows, columns, window, window, dim])
        .swap_dims(2, 3)
        .reshape([batch, rows * window, columns * window, dim])
        .slice([0..batch, 0..height, 0..width, 0..dim])
}
