//! DINOv2's vision transformer (upstream: `dinov2/models/vision_transformer.py`).

use burn::module::{Initializer, Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig};
use burn::tensor::{Device, Tensor, TensorData};

use super::config::DinoConfig;
use crate::models::layers::{
    Activation, PatchEmbed, PatchEmbedSizes, PositionTable, Resampling, VitBlock, VitBlockConfig,
};

/// Value that every layer normalisation adds to the variance.
const EPSILON: f64 = 1e-6;

/// How models without registers bring positions to other sizes (upstream: `interpolate_offset` in `hub/backbones.py`).
const OFFSET: f64 = 0.1;

/// DINOv2.
#[derive(Module, Debug)]
pub struct Dino {
    /// The token that stands for the image, `[1, 1, width]`.
    pub cls_token: Param<Tensor<3>>,
    /// Positions of the class token and of a grid of patches, `[1, 1 + grid^2, width]`.
    pub pos_embed: Param<Tensor<3>>,
    /// Registers, `[1, registers, width]`.
    pub register_tokens: Option<Param<Tensor<3>>>,
    /// Converts pixels to tokens.
    pub patch_embed: PatchEmbed,
    /// Transformer blocks.
    pub blocks: Vec<VitBlock>,
    /// Normalisation of the tokens that come out.
    pub norm: LayerNorm,
    #[module(skip)]
    config: DinoConfig,
}

/// What DINOv2 makes of images.
#[derive(Clone, Debug)]
pub struct DinoOutput {
    /// The normalised class token (upstream: `x_norm_clstoken`), `[batch, width]`.
    pub cls: Tensor<2>,
    /// The normalised patch tokens (upstream: `x_norm_patchtokens`), `[batch, rows, columns, width]`.
    pub patches: Tensor<4>,
}

impl Dino {
    /// Creates a model with random weights.
    pub(super) fn new(config: &DinoConfig, device: &Device) -> Self {
        let width = config.width;
        let block = VitBlockConfig {
            dim: width,
            heads: config.heads,
            hidden: config.mlp_dim,
            epsilon: EPSILON,
            activation: Activation::Gelu,
            has_layer_scale: true,
        };
        let sizes = PatchEmbedSizes {
            dim: width,
            patch: config.patch,
            has_bias: true,
        };
        let zeros = |tokens: usize| -> Param<Tensor<3>> {
            Initializer::Zeros.init([1, tokens, width], device)
        };
        Self {
            cls_token: zeros(1),
            pos_embed: zeros(1 + config.grid * config.grid),
            register_tokens: (config.registers > 0).then(|| zeros(config.registers)),
            patch_embed: PatchEmbed::new(sizes, device),
            blocks: (0..config.layers)
                .map(|_| VitBlock::new(&block, device))
                .collect(),
            norm: LayerNormConfig::new(width)
                .with_epsilon(EPSILON)
                .init(device),
            config: config.clone(),
        }
    }

    /// The sizes that this model was built with.
    pub fn config(&self) -> &DinoConfig {
        &self.config
    }

    /// Encodes images of any size.
    ///
    /// # Shapes
    /// - pixels: `[batch, 3, patch * rows, patch * columns]`, normalised with ImageNet's statistics
    /// - output: see [`DinoOutput`]
    pub fn forward(&self, pixels: Tensor<4>) -> DinoOutput {
        let pixels = pixels.cast(self.cls_token.val().dtype());
        let patches = self.patch_embed.forward(pixels);
        let [batch, rows, columns, width] = patches.dims();
        let count = rows * columns;
        let patches = patches.reshape([batch, count, width]);
        let cls = self.cls_token.val().expand([batch, 1, width]);
        let positions = self.positions([rows, columns]);
        let mut tokens = Tensor::cat(vec![cls, patches], 1) + positions;
        let mut before_patches = 1;
        if let Some(registers) = &self.register_tokens {
            let registers = registers.val();
            let [_, added, _] = registers.dims();
            let (cls, patches) = (tokens.clone().narrow(1, 0, 1), tokens.narrow(1, 1, count));
            let registers = registers.expand([batch, added, width]);
            tokens = Tensor::cat(vec![cls, registers, patches], 1);
            before_patches += added;
        }
        for block in &self.blocks {
            tokens = block.forward(tokens, None);
        }
        let tokens = self.norm.forward(tokens);
        DinoOutput {
            cls: tokens.clone().narrow(1, 0, 1).squeeze_dim::<2>(1),
            patches: tokens
                .narrow(1, before_patches, count)
                .reshape([batch, rows, columns, width]),
        }
    }

    /// The positions of the class token and of a grid of patches.
    ///
    /// # Shapes
    /// - output: `[1, 1 + rows * columns, width]`
    fn positions(&self, grid: [usize; 2]) -> Tensor<3> {
        let table = self.pos_embed.val();
        let [_, all, width] = table.dims();
        if grid == [self.config.grid; 2] {
            return table;
        }
        let (cls, cells) = (table.clone().narrow(1, 0, 1), table.narrow(1, 1, all - 1));
        let (device, dtype) = (cells.device(), cells.dtype());
        let cells = PositionTable {
            values: cells.into_data().iter::<f32>().collect(),
            grid: [self.config.grid; 2],
        };
        let resampling = match self.config.registers {
            0 => Resampling::ByScale { offset: OFFSET },
            _ => Resampling::Antialiased,
        };
        let cells = cells.resampled(grid, resampling).values;
        let shape = [1, grid.into_iter().product(), width];
        let cells = Tensor::<3>::from_data(TensorData::new(cells, shape), &device).cast(dtype);
        Tensor::cat(vec![cls, cells], 1)
    }
}
