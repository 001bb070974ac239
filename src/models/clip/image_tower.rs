//! CLIP's image tower (upstream: `VisionTransformer` in openai/CLIP, `clip/model.py`).

use burn::module::{Initializer, Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig};
use burn::tensor::{Device, Tensor, TensorData};

use super::config::{ClipConfig, ImageTowerConfig};
use crate::models::layers::{
    PatchEmbed, PatchEmbedSizes, PositionTable, Resampling, VitBlock, VitBlockConfig,
};

/// Value that every layer normalisation adds to the variance.
pub(super) const EPSILON: f64 = 1e-5;

/// CLIP's image tower.
#[derive(Module, Debug)]
pub struct ImageTower {
    /// Converts pixels to tokens, without bias.
    pub patch_embed: PatchEmbed,
    /// The token that stands for the image, `[width]`.
    pub class_embedding: Param<Tensor<1>>,
    /// Positions of the class token and of a square grid of patches, `[1 + grid^2, width]`.
    pub positional_embedding: Param<Tensor<2>>,
    /// Normalisation before the blocks.
    pub ln_pre: LayerNorm,
    /// Transformer blocks.
    pub blocks: Vec<VitBlock>,
    /// Normalisation after the blocks.
    pub ln_post: LayerNorm,
    /// Projection to the space of images and texts, `[width, dim]`.
    pub proj: Param<Tensor<2>>,
    #[module(skip)]
    config: ImageTowerConfig,
}

impl ImageTower {
    /// Creates a tower with random weights.
    pub(super) fn new(clip: &ClipConfig, config: &ImageTowerConfig, device: &Device) -> Self {
        let width = config.width;
        let grid = config.image_size / config.patch;
        let block = VitBlockConfig {
            dim: width,
            heads: config.heads,
            hidden: config.mlp_dim,
            epsilon: EPSILON,
            activation: clip.activation,
            has_layer_scale: false,
        };
        let sizes = PatchEmbedSizes {
            dim: width,
            patch: config.patch,
            has_bias: false,
        };
        let norm = LayerNormConfig::new(width).with_epsilon(EPSILON);
        Self {
            patch_embed: PatchEmbed::new(sizes, device),
            class_embedding: Initializer::Zeros.init([width], device),
            positional_embedding: Initializer::Zeros.init([1 + grid * grid, width], device),
            ln_pre: norm.init(device),
            blocks: (0..config.layers)
                .map(|_| VitBlock::new(&block, device))
                .collect(),
            ln_post: norm.init(device),
            proj: Initializer::Zeros.init([width, clip.dim], device),
            config: config.clone(),
        }
    }

    /// The sizes that this tower was built with.
    pub fn config(&self) -> &ImageTowerConfig {
        &self.config
    }

    /// The vectors of images, not normalised.
    ///
    /// # Shapes
    /// - pixels: `[batch, 3, height, width]`, multiples of the patch, normalised with OpenAI's statistics
    /// - output: `[batch, dim]`
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<2> {
        let (mut tokens, _) = self.tokens(pixels);
        for block in &self.blocks {
            tokens = block.forward(tokens, None);
        }
        let class = tokens.narrow(1, 0, 1);
        let class = self.ln_post.forward(class).squeeze_dim::<2>(1);
        class.matmul(self.proj.val())
    }

    /// The vectors of patches, in the space of images and texts: in the last block each token attends to itself
    /// alone (MaskCLIP: Zhou, Loy and Dai, "Extract Free Dense Labels from CLIP", ECCV 2022, section 3.2).
    ///
    /// # Shapes
    /// - pixels: as for [`forward`](Self::forward)
    /// - output: `[batch, rows, columns, dim]`
    pub fn dense(&self, pixels: Tensor<4>) -> Tensor<4> {
        let (mut tokens, [rows, columns]) = self.tokens(pixels);
        if let Some((last, others)) = self.blocks.split_last() {
            for block in others {
                tokens = block.forward(tokens, None);
            }
            tokens = last.forward_apart(tokens);
        }
        let [batch, _, width] = tokens.dims();
        let patches = tokens.narrow(1, 1, rows * columns);
        let patches = self
            .ln_post
            .forward(patches)
            .reshape([batch * rows * columns, width]);
        let vectors = patches.matmul(self.proj.val());
        let [_, dim] = vectors.dims();
        vectors.reshape([batch, rows, columns, dim])
    }

    /// The tokens before the blocks, class token first, and the rows and columns of patches.
    ///
    /// # Shapes
    /// - output: `[batch, 1 + rows * columns, width]`
    fn tokens(&self, pixels: Tensor<4>) -> (Tensor<3>, [usize; 2]) {
        let pixels = pixels.cast(self.class_embedding.val().dtype());
        let patches = self.patch_embed.forward(pixels);
        let [batch, rows, columns, width] = patches.dims();
        let patches = patches.reshape([batch, rows * columns, width]);
        let class = self.class_embedding.val().reshape([1, 1, width]);
        let class = class.expand([batch, 1, width]);
        let tokens = Tensor::cat(vec![class, patches], 1);
        let tokens = tokens + self.positions([rows, columns]).unsqueeze();
        (self.ln_pre.forward(tokens), [rows, columns])
    }

    /// The positions of the class token and of a grid of patches; of another grid than the tower's own as open_clip's
    /// `resize_pos_embed` has them.
    ///
    /// # Shapes
    /// - output: `[1 + rows * columns, width]`
    fn positions(&self, grid: [usize; 2]) -> Tensor<2> {
        let table = self.positional_embedding.val();
        let own = self.config.image_size / self.config.patch;
        if grid == [own; 2] {
            return table;
        }
        let [all, width] = table.dims();
        let (class, cells) = (table.clone().narrow(0, 0, 1), table.narrow(0, 1, all - 1));
        let (device, dtype) = (cells.device(), cells.dtype());
        let cells = PositionTable {
            values: cells.into_data().iter::<f32>().collect(),
            grid: [own; 2],
        };
        let cells = cells.resampled(grid, Resampling::Antialiased).values;
        let shape = [grid.into_iter().product(), width];
        let cells = Tensor::<2>::from_data(TensorData::new(cells, shape), &device).cast(dtype);
        Tensor::cat(vec![class, cells], 0)
    }
}
