//! Converts points, boxes and masks to tokens and feature maps for the mask decoder (upstream: `prompt_encoder.py`).
//!
//! Coordinates are pixels of the model input, that is, of the resized image, x before y.

use burn::module::{Initializer, Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Embedding, EmbeddingConfig};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::config::SamConfig;
use crate::models::layers::LayerNorm2d;
use crate::models::layers::gelu;

/// A batch of prompts. Each row of the batch yields its own masks.
#[derive(Clone, Debug, Default)]
pub struct Prompts {
    /// Point prompts.
    pub points: Option<PointPrompts>,
    /// Boxes as XYXY in pixels of the model input, `[batch, 4]`.
    pub boxes: Option<Tensor<2>>,
    /// Mask logits of a previous round, `[batch, 1, 4 * grid, 4 * grid]`.
    pub masks: Option<Tensor<4>>,
}

/// Point prompts for each row of a batch.
#[derive(Clone, Debug)]
pub struct PointPrompts {
    /// XY in pixels of the model input, `[batch, points, 2]`.
    pub coords: Tensor<3>,
    /// 1 for foreground, 0 for background, -1 for padding, `[batch, points]`.
    pub labels: Tensor<2, Int>,
}

impl Prompts {
    /// One foreground point per row, as in the automatic mask generator.
    ///
    /// Points are (x, y) in pixels of the model input.
    pub fn single_points(points_in_model: &[[f32; 2]], device: &Device) -> Self {
        let count = points_in_model.len();
        let coords = TensorData::new(points_in_model.as_flattened().to_vec(), [count, 1, 2]);
        Self {
            points: Some(PointPrompts {
                coords: Tensor::from_data(coords, device),
                labels: Tensor::ones([count, 1], device),
            }),
            ..Self::default()
        }
    }
}

/// Embedded prompts, the input of the decoder.
#[derive(Clone, Debug)]
pub struct PromptEmbeddings {
    /// One token per point or box corner, `[batch, tokens, dim]`.
    pub sparse: Tensor<3>,
    /// Added to the image embedding, `[batch or 1, dim, grid, grid]`. The batch is 1 without mask prompts.
    pub dense: Tensor<4>,
}

/// Converts prompts to embeddings.
#[derive(Module, Debug)]
pub struct PromptEncoder {
    /// Random Fourier features of positions.
    pub pe_layer: PositionEmbeddingRandom,
    /// Embeddings of a background point, a foreground point, and the first and second box corner.
    pub point_embeddings: Vec<Embedding>,
    /// Embedding of a padding point.
    pub not_a_point_embed: Embedding,
    /// Converts mask logits to feature maps.
    pub mask_downscaling: MaskDownscaling,
    /// Embedding used if there is no mask prompt.
    pub no_mask_embed: Embedding,
    image_size: usize,
    grid: usize,
    boxes_are_points: bool,
}

impl PromptEncoder {
    /// Creates an encoder with random weights.
    pub fn new(config: &SamConfig, device: &Device) -> Self {
        let dim = config.prompt_dim;
        let embedding = || EmbeddingConfig::new(1, dim).init(device);
        Self {
            pe_layer: PositionEmbeddingRandom::new(dim / 2, device),
            point_embeddings: (0..4).map(|_| embedding()).collect(),
            not_a_point_embed: embedding(),
            mask_downscaling: MaskDownscaling::new(config.mask_channels, dim, device),
            no_mask_embed: embedding(),
            image_size: config.image_size,
            grid: config.grid_size(),
            boxes_are_points: config.is_sam2_or_3(),
        }
    }

    /// Embeds prompts. Points and boxes may be given together.
    ///
    /// # Shapes
    /// - output: see [`PromptEmbeddings`]; without points and boxes there are no sparse tokens
    pub fn forward(&self, prompts: &Prompts) -> PromptEmbeddings {
        let batch = prompts.batch();
        let mut tokens = Vec::new();
        let boxes = prompts.boxes.as_ref();
        let boxes = boxes.map(|boxes| self.embed_boxes(boxes.clone()));
        if self.boxes_are_points {
            // SAM 2 has the corners of a box first, and a padding point after any points.
            let is_pointed = prompts.points.is_some() || boxes.is_some();
            tokens.extend(boxes);
            tokens.extend(prompts.points.iter().map(|it| self.embed_points(it, false)));
            if is_pointed {
                let [_, dim] = self.not_a_point_embed.weight.val().dims();
                tokens.push(learned(&self.not_a_point_embed).expand([batch, 1, dim]));
            }
        } else {
            let points = prompts.points.iter();
            tokens.extend(points.map(|it| self.embed_points(it, boxes.is_none())));
            tokens.extend(boxes);
        }
        let no_mask = self.no_mask_embed.weight.val();
        let [_, dim] = no_mask.dims();
        let sparse = if tokens.is_empty() {
            Tensor::zeros([batch, 0, dim], (&no_mask.device(), no_mask.dtype()))
        } else {
            Tensor::cat(tokens, 1)
        };
        let dense = match &prompts.masks {
            Some(masks) => self
                .mask_downscaling
                .forward(masks.clone().cast(self.dtype())),
            None => no_mask
                .reshape([1, dim, 1, 1])
                .expand([1, dim, self.grid, self.grid]),
        };
        PromptEmbeddings { sparse, dense }
    }

    /// Position features of the image embedding's cells, for the decoder.
    ///
    /// # Shapes
    /// - output: `[1, dim, grid, grid]`
    pub fn dense_position(&self) -> Tensor<4> {
        let matrix = self.pe_layer.positional_encoding_gaussian_matrix.val();
        let grid = self.grid;
        let cells = (0..grid * grid)
            .flat_map(|i| [i % grid, i / grid].map(|cell| (cell as f32 + 0.5) / grid as f32));
        let cells = TensorData::new(cells.collect::<Vec<f32>>(), [1, grid * grid, 2]);
        let encoded = self
            .pe_layer
            .encode(Tensor::from_data(cells, &matrix.device()))
            .cast(self.dtype());
        let [_, _, dim] = encoded.dims();
        encoded.swap_dims(1, 2).reshape([1, dim, grid, grid])
    }

    fn embed_points(&self, points: &PointPrompts, pad: bool) -> Tensor<3> {
        let (mut coords, mut labels) = (points.coords.clone(), points.labels.clone());
        let device = coords.device();
        let [batch, ..] = coords.dims();
        if pad {
            let origin = Tensor::zeros([batch, 1, 2], (&device, coords.dtype()));
            coords = Tensor::cat(vec![coords, origin], 1);
            let padding = Tensor::full([batch, 1], -1, (&device, labels.dtype()));
            labels = Tensor::cat(vec![labels, padding], 1);
        }
        let encoded = self.encode_pixels(coords);
        let dtype = encoded.dtype();
        let chosen = |label: i32| {
            labels
                .clone()
                .equal_elem(label)
                .float()
                .cast(dtype)
                .unsqueeze_dim::<3>(2)
        };
        let mut tokens =
            encoded * (1.0 - chosen(-1)) + chosen(-1) * learned(&self.not_a_point_embed);
        for (label, embedding) in (0..2).zip(&self.point_embeddings) {
            tokens = tokens + chosen(label) * learned(embedding);
        }
        tokens
    }

    fn embed_boxes(&self, boxes: Tensor<2>) -> Tensor<3> {
        let [batch, _] = boxes.dims();
        let corners = self.encode_pixels(boxes.reshape([batch, 2, 2]));
        let learned = self.point_embeddings.iter().skip(2).map(learned).collect();
        corners + Tensor::cat(learned, 1)
    }

    /// # Shapes
    /// - coords: `[batch, points, 2]`, pixels of the model input
    /// - output: `[batch, points, dim]`
    fn encode_pixels(&self, coords: Tensor<3>) -> Tensor<3> {
        // Half a pixel is added, to use the pixel's centre.
        self.pe_layer
            .encode((coords + 0.5) / self.image_size as f32)
            .cast(self.dtype())
    }

    /// The data type of every tensor except the frequencies of positions.
    pub(super) fn dtype(&self) -> DType {
        self.no_mask_embed.weight.val().dtype()
    }
}

fn learned(embedding: &Embedding) -> Tensor<3> {
    embedding.weight.val().unsqueeze()
}

impl Prompts {
    fn batch(&self) -> usize {
        let points = self.points.as_ref().map(|points| points.coords.dims()[0]);
        let boxes = self.boxes.as_ref().map(|boxes| boxes.dims()[0]);
        let masks = self.masks.as_ref().map(|masks| masks.dims()[0]);
        points.or(boxes).or(masks).unwrap_or(1)
    }
}

/// Random Fourier features of positions in [0, 1] x [0, 1].
#[derive(Module, Debug)]
pub struct PositionEmbeddingRandom {
    /// The random frequencies, `[2, dim / 2]`.
    pub positional_encoding_gaussian_matrix: Param<Tensor<2>>,
}

impl PositionEmbeddingRandom {
    fn new(features: usize, device: &Device) -> Self {
        let normal = Initializer::Normal {
            mean: 0.0,
            std: 1.0,
        };
        let matrix: Param<Tensor<2>> = normal.init([2, features], device);
        Self {
            // Upstream has a buffer here: it is saved but not trained.
            positional_encoding_gaussian_matrix: matrix.set_require_grad(false),
        }
    }

    /// Computes in f32 whatever the model's precision, because angles go far beyond one turn.
    ///
    /// # Shapes
    /// - coords: `[batch, points, 2]`, XY in [0, 1]
    /// - output: `[batch, points, dim]`
    fn encode(&self, coords: Tensor<3>) -> Tensor<3> {
        let matrix = self.positional_encoding_gaussian_matrix.val();
        let coords = coords.cast(DType::F32) * 2.0 - 1.0;
        let angles = coords.matmul(matrix.cast(DType::F32).unsqueeze()) * std::f32::consts::TAU;
        Tensor::cat(vec![angles.clone().sin(), angles.cos()], 2)
    }
}

/// Converts mask logits to feature maps at the size of the image embedding.
#[derive(Module, Debug)]
pub struct MaskDownscaling {
    /// Upstream: `mask_downscaling.0`.
    pub conv1: Conv2d,
    /// Upstream: `mask_downscaling.1`.
    pub norm1: LayerNorm2d,
    /// Upstream: `mask_downscaling.3`.
    pub conv2: Conv2d,
    /// Upstream: `mask_downscaling.4`.
    pub norm2: LayerNorm2d,
    /// Upstream: `mask_downscaling.6`.
    pub conv3: Conv2d,
}

impl MaskDownscaling {
    fn new(channels: usize, dim: usize, device: &Device) -> Self {
        let halve = |from, to| {
            Conv2dConfig::new([from, to], [2, 2])
                .with_stride([2, 2])
                .init(device)
        };
        Self {
            conv1: halve(1, channels / 4),
            norm1: LayerNorm2d::new(channels / 4, device),
            conv2: halve(channels / 4, channels),
            norm2: LayerNorm2d::new(channels, device),
            conv3: Conv2dConfig::new([channels, dim], [1, 1]).init(device),
        }
    }

    /// # Shapes
    /// - masks: `[batch, 1, 4 * grid, 4 * grid]`
    /// - output: `[batch, dim, grid, grid]`
    fn forward(&self, masks: Tensor<4>) -> Tensor<4> {
        let halved = gelu(self.norm1.forward(self.conv1.forward(masks)));
        let quartered = gelu(self.norm2.forward(self.conv2.forward(halved)));
        self.conv3.forward(quartered)
    }
}
