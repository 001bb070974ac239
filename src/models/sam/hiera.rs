//! The image encoder of SAM 2: the hierarchical transformer Hiera and its neck (upstream: `hieradet.py`,
//! `image_encoder.py`).
//!
//! In: normalised pixels. Out: the image embedding, with one vector per 16x16 pixels, and the features of 4x4 and of 8x8
//! pixels that the mask decoder adds while it upscales.

use burn::module::{Initializer, Module, Param};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::module::linear;
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::hiera_block::HieraBlock;
use super::hiera_config::HieraConfig;
use crate::models::layers::{PositionTable, Resampling};

/// Hiera and its neck.
#[derive(Module, Debug)]
pub struct Hiera {
    /// The transformer.
    pub trunk: HieraTrunk,
    /// Brings the features of every stage to as many channels.
    pub neck: HieraNeck,
}

/// What the encoder gives: features of three sizes.
pub(super) struct HieraFeatures {
    /// One vector per 16x16 pixels, `[1, grid, grid, prompt_dim]`.
    pub embedding: Tensor<4>,
    /// Per 8x8 pixels, before the neck: `[1, 2 * grid, 2 * grid, channels of the second stage]`.
    pub eighths: Tensor<4>,
    /// Per 4x4 pixels, before the neck: `[1, 4 * grid, 4 * grid, channels of the first stage]`.
    pub quarters: Tensor<4>,
}

impl Hiera {
    pub(super) fn new(config: &HieraConfig, out_channels: usize, device: &Device) -> Self {
        Self {
            trunk: HieraTrunk::new(config, device),
            neck: HieraNeck::new(config, out_channels, device),
        }
    }

    /// Encodes an image.
    ///
    /// # Shapes
    /// - pixels: `[1, 3, 16 * grid, 16 * grid]`
    pub(super) fn forward(&self, pixels: Tensor<4>) -> HieraFeatures {
        let [quarters, eighths, sixteenths, deepest] = self.trunk.forward(pixels);
        HieraFeatures {
            embedding: self.neck.embedding(sixteenths, deepest),
            eighths,
            quarters,
        }
    }
}

/// Blocks in four stages; each stage after the first has half the rows and columns, and twice the channels.
#[derive(Module, Debug)]
pub struct HieraTrunk {
    /// Converts pixels to tokens.
    pub patch_embed: OverlappingPatches,
    /// Positions over the whole image, `[1, embed_dim, rows, columns]`, of few rows and columns.
    pub pos_embed: Param<Tensor<4>>,
    /// Positions within a window, `[1, embed_dim, window, window]`.
    pub pos_embed_window: Param<Tensor<4>>,
    /// The blocks of all stages.
    pub blocks: Vec<HieraBlock>,
    #[module(skip)]
    stages: [usize; 4],
}

impl HieraTrunk {
    fn new(config: &HieraConfig, device: &Device) -> Self {
        let dim = config.embed_dim;
        let [rows, columns] = config.position_table;
        let window = config.first_window();
        let blocks = config.blocks();
        Self {
            patch_embed: OverlappingPatches::new(dim, device),
            pos_embed: Initializer::Zeros.init([1, dim, rows, columns], device),
            pos_embed_window: Initializer::Zeros.init([1, dim, window, window], device),
            blocks: blocks
                .iter()
                .map(|block| HieraBlock::new(block, device))
                .collect(),
            stages: config.stages,
        }
    }

    /// The features after each stage.
    ///
    /// # Shapes
    /// - pixels: `[batch, 3, height, width]`, multiples of 32
    /// - output: `[batch, height / 4, width / 4, embed_dim]`, then of half the sides and twice the channels each
    pub(super) fn forward(&self, pixels: Tensor<4>) -> [Tensor<4>; 4] {
        let tokens = self.patch_embed.forward(pixels);
        let [_, rows, columns, _] = tokens.dims();
        let position = self.position([rows, columns]).cast(tokens.dtype());
        let mut tokens = tokens + position;
        let mut blocks = self.blocks.iter();
        self.stages.map(|count| {
            for block in blocks.by_ref().take(count) {
                tokens = block.forward(tokens.clone());
            }
            tokens.clone()
        })
    }

    /// The positions of a grid: those over the whole image, resampled, and those within a window, repeated.
    ///
    /// # Shapes
    /// - output: `[1, rows, columns, embed_dim]`
    fn position(&self, [rows, columns]: [usize; 2]) -> Tensor<4> {
        let table = self.pos_embed.val().permute([0, 2, 3, 1]);
        let device = table.device();
        let [_, table_rows, table_columns, dim] = table.dims();
        let table = PositionTable {
            values: table.into_data().iter::<f32>().collect(),
            grid: [table_rows, table_columns],
        };
        let whole = table.resampled([rows, columns], Resampling::ByScale { offset: 0.0 });
        let whole = TensorData::new(whole.values, [1, rows, columns, dim]);
        let whole = Tensor::<4>::from_data(whole, (&device, DType::F32));
        let window = self.pos_embed_window.val().permute([0, 2, 3, 1]);
        let [_, side, ..] = window.dims();
        let (down, across) = (rows.div_ceil(side), columns.div_ceil(side));
        whole + window.cast(DType::F32).repeat(&[1, down, across, 1])
    }
}

/// Projects patches of 7x7 pixels that overlap, four pixels apart.
#[derive(Module, Debug)]
pub struct OverlappingPatches {
    /// The projection.
    pub proj: Conv2d,
}

impl OverlappingPatches {
    fn new(dim: usize, device: &Device) -> Self {
        let proj = Conv2dConfig::new([3, dim], [7, 7])
            .with_stride([4, 4])
            .with_padding(PaddingConfig2d::Explicit(3, 3, 3, 3));
        Self {
            proj: proj.init(device),
        }
    }

    /// # Shapes
    /// - pixels: `[batch, 3, height, width]`
    /// - output: `[batch, height / 4, width / 4, dim]`
    fn forward(&self, pixels: Tensor<4>) -> Tensor<4> {
        self.proj.forward(pixels).permute([0, 2, 3, 1])
    }
}

/// One convolution per stage, the deepest first (upstream: `FpnNeck`).
#[derive(Module, Debug)]
pub struct HieraNeck {
    /// The convolutions.
    pub convs: Vec<NeckConv>,
}

/// A convolution of a single pixel.
#[derive(Module, Debug)]
pub struct NeckConv {
    /// The convolution.
    pub conv: Conv2d,
}

impl NeckConv {
    /// # Shapes
    /// - input: `[batch, rows, columns, from]`
    /// - output: `[batch, rows, columns, to]`
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let (weight, bias) = matrix_of(&self.conv);
        linear(input, weight, bias)
    }
}

impl HieraNeck {
    fn new(config: &HieraConfig, channels: usize, device: &Device) -> Self {
        let conv = |stage: usize| NeckConv {
            conv: Conv2dConfig::new([config.channels_of(stage), channels], [1, 1]).init(device),
        };
        Self {
            convs: (0..config.stages.len()).rev().map(conv).collect(),
        }
    }

    /// The features of the third stage with those of the fourth added, each of which is as large as four.
    fn embedding(&self, sixteenths: Tensor<4>, deepest: Tensor<4>) -> Tensor<4> {
        let mut convs = self.convs.iter();
        let (Some(of_deepest), Some(of_sixteenths)) = (convs.next(), convs.next()) else {
            return sixteenths;
        };
        let above = of_deepest.forward(deepest);
        let [batch, rows, columns, channels] = above.dims();
        let above = above
            .reshape([batch, rows, 1, columns, 1, channels])
            .expand([batch, rows, 2, columns, 2, channels])
            .reshape([batch, 2 * rows, 2 * columns, channels]);
        of_sixteenths.forward(sixteenths) + above
    }

    /// The neck's convolution of a stage (from 0) with another one after it, as a single matrix: weight `[from, to]`, bias
    /// `[to]`. The features between them are never made.
    pub(super) fn joined(&self, stage: usize, after: &Conv2d) -> Option<(Tensor<2>, Tensor<1>)> {
        let conv = self.convs.iter().rev().nth(stage)?;
        let (first, first_bias) = matrix_of(&conv.conv);
        let (second, second_bias) = matrix_of(after);
        let bias = first_bias?.unsqueeze::<2>().matmul(second.clone());
        let bias = bias.squeeze_dim::<1>(0) + second_bias?;
        Some((first.matmul(second), bias))
    }
}

/// The weight of a convolution of one pixel as a matrix `[from, to]`, and its bias.
fn matrix_of(conv: &Conv2d) -> (Tensor<2>, Option<Tensor<1>>) {
    let weight = conv.weight.val().flatten::<2>(1, 3).transpose();
    (weight, conv.bias.as_ref().map(|bias| bias.val()))
}
