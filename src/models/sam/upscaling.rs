//! From cells of an image to masks (upstream: `output_upscaling` of `mask_decoder.py`), and HQ-SAM's features of the same
//! make.
//!
//! Upscaling keeps channels last. A transposed convolution whose stride equals its kernel is a matrix product per cell,
//! so only the finished masks, not the wide feature maps, have to be put in pixel order. On the CPU some cells of one prompt
//! are upscaled at a time, so that their features stay in its cache.

use std::ops::Range;

use burn::module::Module;
use burn::nn::conv::{ConvTranspose2d, ConvTranspose2dConfig};
use burn::tensor::{Device, Tensor};
use rayon::prelude::*;

use super::image_embedding::Details;
use crate::models::layers::{LayerNorm2d, gelu, works_on_slices};

/// Upscales each cell to 4x4 pixels and combines pixel features to masks.
#[derive(Module, Debug)]
pub struct OutputUpscaling {
    /// Upstream: `output_upscaling.0`.
    pub conv1: ConvTranspose2d,
    /// Upstream: `output_upscaling.1`.
    pub norm: LayerNorm2d,
    /// Upstream: `output_upscaling.3`.
    pub conv2: ConvTranspose2d,
}

impl OutputUpscaling {
    /// With channels before, between and after its two convolutions, and random weights.
    pub(super) fn new([from, between, to]: [usize; 3], device: &Device) -> Self {
        let double = |from, to| {
            ConvTranspose2dConfig::new([from, to], [2, 2])
                .with_stride([2, 2])
                .init(device)
        };
        Self {
            conv1: double(from, between),
            norm: LayerNorm2d::new(between, device),
            conv2: double(between, to),
        }
    }

    /// The features themselves, before any mask.
    ///
    /// # Shapes
    /// - input: `[batch, from, height, width]`
    /// - output: `[batch, to, 4 * height, 4 * width]`
    pub(super) fn features(&self, input: Tensor<4>) -> Tensor<4> {
        let doubled = gelu(self.norm.forward(self.conv1.forward(input)));
        self.conv2.forward(doubled)
    }

    /// # Shapes
    /// - cells: `[batch, height * width, dim]`
    /// - grid: `[height, width]` of the cells
    /// - weights: `[batch, outputs, dim / 8]`
    /// - output: `[batch, outputs, 4 * height, 4 * width]`
    pub(super) fn forward(
        &self,
        cells: Tensor<3>,
        grid: [usize; 2],
        weights: Tensor<3>,
        details: Option<&Details>,
    ) -> Tensor<4> {
        let [batch, outputs, _] = weights.dims();
        let [height, width] = grid;
        let upscaler = self.upscaler();
        let logits = if works_on_slices(&cells.device(), cells.dtype()) {
            upscaler.in_tiles(&cells, &weights, details)
        } else {
            upscaler.logits(cells, weights, details)
        };
        logits
            .reshape([batch, outputs, height, width, 2, 2, 2, 2])
            .permute([0, 1, 2, 4, 6, 3, 5, 7])
            .reshape([batch, outputs, 4 * height, 4 * width])
    }

    /// The features of the pixels of one prompt.
    ///
    /// # Shapes
    /// - cells: `[1, height * width, dim]`
    /// - output: `[1, dim / 8, 4 * height, 4 * width]`
    pub(super) fn pixels(&self, cells: Tensor<3>, [height, width]: [usize; 2]) -> Tensor<4> {
        let pixels = self.upscaler().pixels(cells, None);
        let [_, features] = pixels.dims();
        pixels
            .reshape([height, width, 2, 2, 2, 2, features])
            .permute([6, 0, 2, 4, 1, 3, 5])
            .reshape([1, features, 4 * height, 4 * width])
    }

    fn upscaler(&self) -> CellUpscaler<'_> {
        CellUpscaler {
            first: Doubling::new(&self.conv1),
            norm: &self.norm,
            second: Doubling::new(&self.conv2),
        }
    }
}

/// Cells whose pixels are made at the same time on the CPU, so that they stay in the cache of a core: 512 KiB. Their products
/// are left to one thread.
const TILE: usize = 64;

/// Makes logits of cells, 16 a cell: its four quarters, left to right and then down, and in each of these its own four.
struct CellUpscaler<'a> {
    first: Doubling,
    norm: &'a LayerNorm2d,
    second: Doubling,
}

impl CellUpscaler<'_> {
    /// # Shapes
    /// - cells: `[batch, cells, dim]`
    /// - weights: `[batch, outputs, dim / 8]`
    /// - output: `[batch, outputs, 16 * cells]`
    fn logits(&self, cells: Tensor<3>, weights: Tensor<3>, details: Option<&Details>) -> Tensor<3> {
        let [batch, count, _] = cells.dims();
        let [_, _, features] = weights.dims();
        let pixels = self.pixels(cells, details);
        let pixels = pixels.reshape([batch, count * 16, features]);
        weights.matmul(pixels.swap_dims(1, 2))
    }

    /// The features of which logits are sums.
    ///
    /// # Shapes
    /// - cells: `[batch, cells, dim]`
    /// - output: `[16 * batch * cells, dim / 8]`
    fn pixels(&self, cells: Tensor<3>, details: Option<&Details>) -> Tensor<2> {
        let [batch, count, dim] = cells.dims();
        let mut doubled = self.first.forward(cells.reshape([batch * count, dim]));
        if let Some(details) = details {
            doubled = with_detail(doubled, &details.eighths);
        }
        let doubled = gelu(self.norm.forward_channels_last(doubled));
        let mut pixels = self.second.forward(doubled);
        if let Some(details) = details {
            pixels = with_detail(pixels, &details.quarters);
        }
        gelu(pixels)
    }

    /// As [`CellUpscaler::logits`], for some cells of one prompt after the other.
    fn in_tiles(
        &self,
        cells: &Tensor<3>,
        weights: &Tensor<3>,
        details: Option<&Details>,
    ) -> Tensor<3> {
        let [batch, count, _] = cells.dims();
        let [_, outputs, _] = weights.dims();
        let starts = (0..count).step_by(TILE);
        let tiles = starts.map(|start| start..count.min(start + TILE));
        let tiles: Vec<Range<usize>> = tiles.collect();
        let of_tile = |prompt: usize, tile: &Range<usize>| {
            let (first, length) = (tile.start, tile.len());
            let part = details.map(|details| Details {
                eighths: details.eighths.clone().narrow(0, 4 * first, 4 * length),
                quarters: details.quarters.clone().narrow(0, 16 * first, 16 * length),
            });
            let cells = cells.clone().narrow(0, prompt, 1).narrow(1, first, length);
            let weights = weights.clone().narrow(0, prompt, 1);
            self.logits(cells, weights, part.as_ref())
        };
        let of_prompt = |prompt: usize| {
            let made: Vec<_> = tiles.par_iter().map(|tile| of_tile(prompt, tile)).collect();
            Tensor::cat(made, 2)
        };
        match batch * count * outputs {
            0 => Tensor::zeros([batch, outputs, 16 * count], &cells.device()),
            _ => Tensor::cat((0..batch).map(of_prompt).collect(), 0),
        }
    }
}

/// Adds the details of one image to the rows of every prompt.
///
/// # Shapes
/// - rows: `[batch * count, channels]`
/// - detail: `[count, channels]`
fn with_detail(rows: Tensor<2>, detail: &Tensor<2>) -> Tensor<2> {
    let [all, channels] = rows.dims();
    let [count, _] = detail.dims();
    let prompts = rows.reshape([all / count.max(1), count, channels]);
    (prompts + detail.clone().unsqueeze()).reshape([all, channels])
}

/// A transposed convolution with kernel and stride 2, as a matrix: each row becomes four, left to right, then down.
struct Doubling {
    /// `[from, 4 * to]`
    weight: Tensor<2>,
    /// `[4 * to]`
    bias: Option<Tensor<1>>,
}

impl Doubling {
    fn new(conv: &ConvTranspose2d) -> Self {
        let weight = conv.weight.val();
        let [from, to, ..] = weight.dims();
        Self {
            weight: weight.permute([0, 2, 3, 1]).reshape([from, 4 * to]),
            bias: conv.bias.as_ref().map(|bias| bias.val().repeat_dim(0, 4)),
        }
    }

    /// # Shapes
    /// - rows: `[count, from]`
    /// - output: `[count * 4, to]`
    fn forward(&self, rows: Tensor<2>) -> Tensor<2> {
        let [count, _] = rows.dims();
        let [_, channels] = self.weight.dims();
        burn::tensor::module::linear(rows, self.weight.clone(), self.bias.clone())
            .reshape([count * 4, channels / 4])
    }
}
