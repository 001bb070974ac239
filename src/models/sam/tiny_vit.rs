//! MobileSAM's image encoder (upstream: ChaoningZhang/MobileSAM, `tiny_vit_sam.py`).
//!
//! In: normalised, padded pixels. Out: the image embedding. Convolutions come first, then windowed attention with a
//! learned bias per offset. The grid is halved twice and ends at 16 pixels per cell.

#![allow(
    clippy::indexing_slicing,
    reason = "the model has four stages, and each size is an array of four"
)]

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::image_encoder::Neck;
use super::sizes::{LARGEST_WINDOW, MOST_LAYERS, require};
use super::tiny_vit_block::TinyVitBlock;
use super::tiny_vit_conv::{ConvBn, ConvBnSizes, MbConv, PatchMerging};
use crate::models::error::Result;
use crate::models::layers::gelu;

/// Sizes of the TinyViT, per stage. The first stage is convolutional, the others use attention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TinyVitConfig {
    /// Channels.
    pub embed_dims: [usize; 4],
    /// Blocks.
    pub depths: [usize; 4],
    /// Attention heads. The first stage has none and ignores its entry.
    pub heads: [usize; 4],
    /// Side of the attention windows in tokens. The first stage ignores its entry.
    pub window_sizes: [usize; 4],
    /// Hidden channels as a multiple of the outer ones, in MLPs and convolution blocks.
    pub mlp_ratio: usize,
}

impl Default for TinyVitConfig {
    /// The sizes of MobileSAM's vit_t.
    fn default() -> Self {
        Self {
            embed_dims: [64, 128, 160, 320],
            depths: [2, 2, 6, 2],
            heads: [2, 4, 5, 10],
            window_sizes: [7, 7, 14, 7],
            mlp_ratio: 4,
        }
    }
}

impl TinyVitConfig {
    /// Channels of the features after the second stage.
    pub(super) fn early_channels(&self) -> Option<usize> {
        self.embed_dims.get(2).copied()
    }

    pub(super) fn check(&self, image_size: usize) -> Result<()> {
        require(image_size.is_multiple_of(16), || {
            format!("image_size {image_size} is not a multiple of 16")
        })?;
        let stages = self.embed_dims.iter().zip(self.heads).skip(1);
        for (&dim, heads) in stages {
            require(heads > 0 && dim.is_multiple_of(heads), || {
                format!("embed_dim {dim} is not a multiple of heads {heads}")
            })?;
        }
        require(
            self.depths.iter().all(|&depth| depth <= MOST_LAYERS),
            || format!("depths {:?} are beyond {MOST_LAYERS}", self.depths),
        )?;
        let windows = 1..=(image_size / 16).max(LARGEST_WINDOW);
        require(
            self.window_sizes.iter().all(|size| windows.contains(size)),
            || format!("window sizes {:?} do not fit", self.window_sizes),
        )?;
        require(self.embed_dims[0].is_multiple_of(2), || {
            format!("embed_dim {} is odd", self.embed_dims[0])
        })
    }
}

/// The image encoder of MobileSAM.
#[derive(Module, Debug)]
pub struct TinyVit {
    /// Converts pixels to features at a quarter of the resolution.
    pub patch_embed: TinyPatchEmbed,
    /// The convolutional stage (upstream: `layers.0`).
    pub conv_layer: ConvLayer,
    /// The attention stages (upstream: `layers.1` to `layers.3`).
    pub layers: Vec<BasicLayer>,
    /// Converts tokens to the image embedding.
    pub neck: Neck,
}

impl TinyVit {
    /// Creates an encoder with random weights.
    pub fn new(config: &TinyVitConfig, out_channels: usize, device: &Device) -> Self {
        let [dim0, dim1, dim2, dim3] = config.embed_dims;
        // The last merging keeps the resolution, so that cells cover 16 pixels.
        let merges = [Some((dim2, 2)), Some((dim3, 1)), None];
        let layers = merges.iter().enumerate().map(|(i, merge)| {
            let dim = config.embed_dims[i + 1];
            BasicLayer {
                blocks: (0..config.depths[i + 1])
                    .map(|_| TinyVitBlock::new(config, i + 1, device))
                    .collect(),
                downsample: merge.map(|(to, stride)| PatchMerging::new([dim, to], stride, device)),
            }
        });
        let stage = |_| MbConv::new(dim0, dim0 * config.mlp_ratio, device);
        Self {
            patch_embed: TinyPatchEmbed::new(dim0, device),
            conv_layer: ConvLayer {
                blocks: (0..config.depths[0]).map(stage).collect(),
                downsample: PatchMerging::new([dim0, dim1], 2, device),
            },
            layers: layers.collect(),
            neck: Neck::new(dim3, out_channels, device),
        }
    }

    /// Encodes images.
    ///
    /// # Shapes
    /// - pixels: `[batch, 3, 16 * grid, 16 * grid]`, normalised and padded
    /// - output: `[batch, out_channels, grid, grid]`, and the features after the second stage, which HQ-SAM uses
    pub fn forward(&self, pixels: Tensor<4>) -> (Tensor<4>, Option<Tensor<4>>) {
        let mut features = self.patch_embed.forward(pixels);
        for block in &self.conv_layer.blocks {
            features = block.forward(features);
        }
        features = self.conv_layer.downsample.forward(features);
        let mut early = None;
        for layer in &self.layers {
            for block in &layer.blocks {
                features = block.forward(features);
            }
            if let Some(downsample) = &layer.downsample {
                features = downsample.forward(features);
            }
            early.get_or_insert_with(|| features.clone());
        }
        (self.neck.forward(features.permute([0, 2, 3, 1])), early)
    }
}

/// Two strided convolutions.
#[derive(Module, Debug)]
pub struct TinyPatchEmbed {
    /// Upstream: `seq.0`.
    pub conv1: ConvBn,
    /// Upstream: `seq.2`.
    pub conv2: ConvBn,
}

impl TinyPatchEmbed {
    fn new(dim: usize, device: &Device) -> Self {
        let halve = |from, to| {
            let sizes = ConvBnSizes {
                kernel: 3,
                stride: 2,
                ..ConvBnSizes::pointwise(from, to)
            };
            ConvBn::new(sizes, device)
        };
        Self {
            conv1: halve(3, dim / 2),
            conv2: halve(dim / 2, dim),
        }
    }

    fn forward(&self, pixels: Tensor<4>) -> Tensor<4> {
        self.conv2.forward(gelu(self.conv1.forward(pixels)))
    }
}

/// Convolution blocks, followed by a merging of 2x2 cells.
#[derive(Module, Debug)]
pub struct ConvLayer {
    /// The blocks.
    pub blocks: Vec<MbConv>,
    /// Merges cells for the next stage.
    pub downsample: PatchMerging,
}

/// Attention blocks, followed by a change of channels.
#[derive(Module, Debug)]
pub struct BasicLayer {
    /// The blocks.
    pub blocks: Vec<TinyVitBlock>,
    /// Changes channels for the next stage, if there is one.
    pub downsample: Option<PatchMerging>,
}
