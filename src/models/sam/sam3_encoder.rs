//! SAM 3's image encoder: a plain transformer, and the neck of its tracker (upstream: transformers, `Sam3ViTModel` and
//! `Sam3VisionNeck` of `modeling_sam3.py`).
//!
//! In: normalised pixels. Out: the image embedding, with one vector per patch, and the features of quarters and sixteenths
//! of patches that the mask decoder adds while it upscales.

use burn::module::{Initializer, Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::{LayerNorm, LayerNormConfig, PaddingConfig2d};
use burn::tensor::activation::gelu;
use burn::tensor::{Device, Tensor};

use super::sam3_block::{Rotation, Sam3Block};
use super::sam3_config::Sam3VitConfig;
use crate::models::layers::{PatchEmbed, PatchEmbedSizes};

/// The transformer and its neck.
#[derive(Module, Debug)]
pub struct Sam3Encoder {
    /// The transformer.
    pub trunk: Sam3Trunk,
    /// Makes features of three sizes.
    pub neck: Sam3Neck,
}

/// Features of three sizes.
pub(super) struct Sam3Features {
    /// One vector per patch, `[1, prompt_dim, grid, grid]`.
    pub embedding: Tensor<4>,
    /// Details of quarters of patches, `[1, channels, 2 * grid, 2 * grid]`.
    pub quarters: Tensor<4>,
    /// Details of sixteenths of patches, `[1, channels, 4 * grid, 4 * grid]`.
    pub sixteenths: Tensor<4>,
}

impl Sam3Encoder {
    pub(super) fn new(config: &Sam3VitConfig, out_channels: usize, device: &Device) -> Self {
        Self {
            trunk: Sam3Trunk::new(config, device),
            neck: Sam3Neck::new(config.embed_dim, out_channels, device),
        }
    }

    /// Encodes an image. The mask decoder's convolutions of sixteenths and of quarters are part of it.
    ///
    /// # Shapes
    /// - pixels: `[1, 3, patch_size * grid, patch_size * grid]`
    pub(super) fn forward(
        &self,
        pixels: Tensor<4>,
        [of_sixteenths, of_quarters]: [Option<&Conv2d>; 2],
    ) -> Sam3Features {
        let tokens = self.trunk.forward(pixels).permute([0, 3, 1, 2]);
        let convs = &self.neck.convs;
        Sam3Features {
            quarters: convs.double.forward(tokens.clone(), of_quarters),
            sixteenths: convs.fourfold.forward(tokens.clone(), of_sixteenths),
            embedding: convs.same.forward(tokens, None),
        }
    }
}

/// The transformer.
#[derive(Module, Debug)]
pub struct Sam3Trunk {
    /// Converts pixels to tokens.
    pub patch_embed: PatchEmbed,
    /// Positions in a square of tokens, `[1, side * side, embed_dim]`, which is repeated over the image.
    pub pos_embed: Param<Tensor<3>>,
    /// Normalisation before the blocks.
    pub ln_pre: LayerNorm,
    /// The blocks.
    pub blocks: Vec<Sam3Block>,
    #[module(skip)]
    config: Sam3VitConfig,
}

impl Sam3Trunk {
    fn new(config: &Sam3VitConfig, device: &Device) -> Self {
        let dim = config.embed_dim;
        let side = config.position_table;
        let patches = PatchEmbedSizes {
            dim,
            patch: config.patch_size,
            has_bias: false,
        };
        let norm = LayerNormConfig::new(dim).with_epsilon(config.epsilon);
        Self {
            patch_embed: PatchEmbed::new(patches, device),
            pos_embed: Initializer::Zeros.init([1, side * side, dim], device),
            ln_pre: norm.init(device),
            blocks: (0..config.depth)
                .map(|i| Sam3Block::new(config, i, device))
                .collect(),
            config: config.clone(),
        }
    }

    /// # Shapes
    /// - pixels: `[batch, 3, patch_size * rows, patch_size * columns]`, as many rows as columns
    /// - output: `[batch, rows, columns, embed_dim]`
    pub(super) fn forward(&self, pixels: Tensor<4>) -> Tensor<4> {
        let tokens = self.patch_embed.forward(pixels);
        let [_, rows, columns, _] = tokens.dims();
        let mut tokens = self.ln_pre.forward(tokens + self.position([rows, columns]));
        let Sam3VitConfig {
            embed_dim,
            heads,
            window_size,
            ..
        } = self.config;
        let device = tokens.device();
        let rotation = |side| Rotation::new(side, window_size, embed_dim / heads, &device);
        // Positions of the whole image are scaled to those of a window, which the encoder was first trained on.
        let (whole, in_windows) = (rotation(rows), rotation(window_size));
        for block in &self.blocks {
            tokens = block.forward(tokens, &whole, &in_windows);
        }
        tokens
    }

    /// # Shapes
    /// - output: `[1, rows, columns, embed_dim]`
    fn position(&self, [rows, columns]: [usize; 2]) -> Tensor<4> {
        let side = self.config.position_table;
        let table = self.pos_embed.val();
        let [_, _, dim] = table.dims();
        let (down, across) = (rows.div_ceil(side), columns.div_ceil(side));
        table
            .reshape([1, side, side, dim])
            .repeat(&[1, down, across, 1])
            .slice([0..1, 0..rows, 0..columns, 0..dim])
    }
}

/// The neck.
#[derive(Module, Debug)]
pub struct Sam3Neck {
    /// Its levels.
    pub convs: Sam3Levels,
}

/// The levels of the neck.
#[derive(Module, Debug)]
pub struct Sam3Levels {
    /// Four times the rows and columns (upstream: `convs.0`).
    pub fourfold: Sam3Level,
    /// Twice the rows and columns (upstream: `convs.1`).
    pub double: Sam3Level,
    /// The same rows and columns (upstream: `convs.2`).
    pub same: Sam3Level,
}

/// A level of the neck: rows and columns are doubled as often as there are transposed convolutions.
#[derive(Module, Debug)]
pub struct Sam3Level {
    /// Transposed convolutions, with GELU between them.
    pub up: Vec<ConvTranspose2d>,
    /// A convolution of single pixels.
    pub conv_1x1: Conv2d,
    /// A convolution of 3x3 pixels.
    pub conv_3x3: Conv2d,
}

impl Sam3Neck {
    fn new(dim: usize, channels: usize, device: &Device) -> Self {
        let level = |doublings: usize| {
            let up = (0..doublings).map(|i| {
                ConvTranspose2dConfig::new([dim >> i, dim >> (i + 1)], [2, 2])
                    .with_stride([2, 2])
                    .init(device)
            });
            Sam3Level {
                up: up.collect(),
                conv_1x1: Conv2dConfig::new([dim >> doublings, channels], [1, 1]).init(device),
                conv_3x3: Conv2dConfig::new([channels, channels], [3, 3])
                    .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                    .init(device),
            }
        };
        Self {
            convs: Sam3Levels {
                fourfold: level(2),
                double: level(1),
                same: level(0),
            },
        }
    }
}

impl Sam3Level {
    /// `after` is a convolution of single pixels that follows. It is joined with the last one, so that the features between them,
    /// of which there are many, are never made.
    ///
    /// # Shapes
    /// - input: `[batch, dim, rows, columns]`
    /// - output: `[batch, channels, rows, columns]`, of as many rows and columns as the level has
    fn forward(&self, input: Tensor<4>, after: Option<&Conv2d>) -> Tensor<4> {
        let mut features = input;
        for (i, conv) in self.up.iter().enumerate() {
            if i > 0 {
                features = gelu(features);
            }
            features = conv.forward(features);
        }
        let features = self.conv_1x1.forward(features);
        match after {
            Some(after) => joined(&self.conv_3x3, after).forward(features),
            None => self.conv_3x3.forward(features),
        }
    }
}

/// A convolution and one of single pixels after it, as one.
fn joined(first: &Conv2d, after: &Conv2d) -> Conv2d {
    let mixing = after.weight.val().flatten::<2>(1, 3);
    let weight = first.weight.val();
    let [between, from, height, width] = weight.dims();
    let [to, _] = mixing.dims();
    let weight = mixing
        .clone()
        .matmul(weight.reshape([between, from * height * width]));
    let bias = first
        .bias
        .as_ref()
        .map(|bias| mixing.matmul(bias.val().unsqueeze_dim(1)));
    let biases = [
        bias.map(|it| it.squeeze_dim::<1>(1)),
        after.bias.as_ref().map(|it| it.val()),
    ];
    let mut joined = first.clone();
    joined.weight = Param::from_tensor(weight.reshape([to, from, height, width]));
    joined.bias = biases
        .into_iter()
        .flatten()
        .reduce(|a, b| a + b)
        .map(Param::from_tensor);
    joined
}
