//! Predicts masks, their IoU and their tokens from an image embedding and prompts (upstream: `mask_decoder.py`).
//!
//! Upscaling keeps channels last. A transposed convolution whose stride equals its kernel is a matrix product per cell,
//! so only the finished masks, not the wide feature maps, have to be put in pixel order.

use std::ops::Range;

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::{Embedding, EmbeddingConfig};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rayon::prelude::*;

use super::config::SamConfig;
use super::decoder_mlp::{DecoderMlp, DecoderMlpSizes};
use super::hq_decoder::HqDecoder;
use super::image_embedding::{Details, ImageEmbedding};
use super::prompt_encoder::PromptEmbeddings;
use super::transformer::TwoWayTransformer;
use crate::models::layers::{LayerNorm2d, gelu, works_on_slices};

/// The decoder's output for each row of a batch. Output 0 is the single-mask output. The others are the multimask
/// outputs, which upstream prefers for a single point.
#[derive(Clone, Debug)]
pub struct DecoderOutput {
    /// Mask logits at a quarter of the model input, `[batch, outputs, 4 * grid, 4 * grid]`. Values above 0 are
    /// foreground.
    pub masks: Tensor<4>,
    /// Predicted IoU of each mask, roughly in [0, 1], `[batch, outputs]`.
    pub iou: Tensor<2>,
    /// Mask tokens after the transformer, `[batch, outputs, dim]`. The paper's embedding is a row of these, flattened.
    pub tokens: Tensor<3>,
    /// As [`DecodedTokens::object_score`].
    pub object_score: Option<Tensor<2>>,
}

/// What the decoder knows of each row of a batch before it makes masks.
#[derive(Clone, Debug)]
pub struct DecodedTokens {
    /// As [`DecoderOutput::iou`].
    pub iou: Tensor<2>,
    /// As [`DecoderOutput::tokens`].
    pub tokens: Tensor<3>,
    /// Logit of whether there is an object at all, `[batch, 1]`: only SAM 2 gives it.
    pub object_score: Option<Tensor<2>>,
    /// Cells of the image after the transformer, `[batch, rows * columns, dim]`.
    cells: Tensor<3>,
    /// Rows and columns of the cells.
    grid: [usize; 2],
    /// Weights over pixel features, `[batch, outputs, dim / 8]`.
    weights: Tensor<3>,
    details: Option<Details>,
    hq: Option<HqInput>,
}

/// What HQ-SAM's masks are made from.
#[derive(Clone, Debug)]
struct HqInput {
    /// `[batch, dim]`
    token: Tensor<2>,
    /// `[1, dim / 8, 4 * grid, 4 * grid]`
    features: Tensor<4>,
}

/// The mask decoder.
#[derive(Module, Debug)]
pub struct MaskDecoder {
    /// The transformer in which tokens and image attend to each other.
    pub transformer: TwoWayTransformer,
    /// The token that the IoU is predicted from.
    pub iou_token: Embedding,
    /// One token per mask output.
    pub mask_tokens: Embedding,
    /// Upscales cells to pixels.
    pub output_upscaling: OutputUpscaling,
    /// One MLP per mask output, from its token to weights over pixel features.
    pub output_hypernetworks_mlps: Vec<DecoderMlp>,
    /// Maps the IoU token to one IoU per mask output.
    pub iou_prediction_head: DecoderMlp,
    /// What only SAM 2's decoder has: the token that the object score is predicted from.
    pub obj_score_token: Option<Embedding>,
    /// Maps that token to the score.
    pub pred_obj_score_head: Option<DecoderMlp>,
    /// Maps features of 4x4 pixels to those that are added while upscaling.
    pub conv_s0: Option<Conv2d>,
    /// The same, for features of 8x8 pixels.
    pub conv_s1: Option<Conv2d>,
    /// What only HQ-SAM's decoder has.
    pub hq: Option<HqDecoder>,
}

impl MaskDecoder {
    /// Creates a decoder with random weights.
    pub fn new(config: &SamConfig, device: &Device) -> Self {
        let (dim, decoder) = (config.prompt_dim, &config.decoder);
        let outputs = decoder.mask_tokens();
        let hypernetwork = DecoderMlpSizes {
            input: dim,
            hidden: dim,
            output: dim / 8,
            layers: 3,
        };
        let iou_head = DecoderMlpSizes {
            input: dim,
            hidden: decoder.iou_head_hidden,
            output: outputs,
            layers: decoder.iou_head_depth,
        };
        let object_head = DecoderMlpSizes {
            input: dim,
            hidden: dim,
            output: 1,
            layers: 3,
        };
        let is_sam2 = config.is_sam2();
        let detail = |to| is_sam2.then(|| Conv2dConfig::new([dim, to], [1, 1]).init(device));
        Self {
            transformer: TwoWayTransformer::new(dim, decoder, device),
            iou_token: EmbeddingConfig::new(1, dim).init(device),
            mask_tokens: EmbeddingConfig::new(outputs, dim).init(device),
            output_upscaling: OutputUpscaling::new(dim, device),
            output_hypernetworks_mlps: (0..outputs)
                .map(|_| DecoderMlp::new(hypernetwork, device))
                .collect(),
            iou_prediction_head: DecoderMlp::new(iou_head, device),
            obj_score_token: is_sam2.then(|| EmbeddingConfig::new(1, dim).init(device)),
            pred_obj_score_head: is_sam2.then(|| DecoderMlp::new(object_head, device)),
            conv_s0: detail(dim / 8),
            conv_s1: detail(dim / 4),
            hq: decoder
                .hq_channels
                .map(|channels| HqDecoder::new(dim, channels, device)),
        }
    }

    /// The convolution of features of a stage of SAM 2's encoder, counted from 0.
    pub(super) const fn detail_conv(&self, stage: usize) -> Option<&Conv2d> {
        match stage {
            0 => self.conv_s0.as_ref(),
            1 => self.conv_s1.as_ref(),
            _ => None,
        }
    }

    /// Predicts all mask outputs for each prompt.
    ///
    /// # Shapes
    /// - image_position: `[1, dim, grid, grid]`, from the prompt encoder
    /// - output: see [`DecoderOutput`]
    pub fn forward(
        &self,
        image: ImageEmbedding,
        image_position: Tensor<4>,
        prompts: PromptEmbeddings,
    ) -> DecoderOutput {
        let decoded = self.tokens(image, image_position, prompts);
        let weights = decoded.weights.clone();
        DecoderOutput {
            iou: decoded.iou.clone(),
            tokens: decoded.tokens.clone(),
            object_score: decoded.object_score.clone(),
            masks: self.weighted_masks(decoded, weights),
        }
    }

    /// The steps of [`MaskDecoder::forward`] before any mask: [`MaskDecoder::masks`] makes those that are wanted.
    ///
    /// # Shapes
    /// As those of [`MaskDecoder::forward`].
    pub fn tokens(
        &self,
        image: ImageEmbedding,
        image_position: Tensor<4>,
        prompts: PromptEmbeddings,
    ) -> DecodedTokens {
        let PromptEmbeddings { sparse, dense } = prompts;
        let [batch, _, dim] = sparse.dims();
        let [outputs, _] = self.mask_tokens.weight.val().dims();
        let own = self.obj_score_token.iter();
        let own = own.chain([&self.iou_token, &self.mask_tokens]);
        let own = own.chain(self.hq.iter().map(|hq| &hq.hf_token));
        let output_tokens = Tensor::cat(own.map(|it| it.weight.val()).collect(), 0);
        let [own, _] = output_tokens.dims();
        let output_tokens = output_tokens.unsqueeze::<3>().expand([batch, own, dim]);
        let tokens = Tensor::cat(vec![output_tokens, sparse], 1);

        let ImageEmbedding {
            cells: image,
            details,
            hq: hq_features,
        } = image;
        let [_, _, rows, columns] = image.dims();
        let cells = channels_last(image + dense);
        let (tokens, cells) =
            self.transformer
                .forward(cells, channels_last(image_position), tokens);
        let token = |at: usize| tokens.clone().narrow(1, at, 1).squeeze_dim::<2>(1);
        let before_iou = usize::from(self.obj_score_token.is_some());
        let mut iou = self.iou_prediction_head.forward(token(before_iou));
        let mut object_score = None;
        if let Some(head) = &self.pred_obj_score_head {
            object_score = Some(head.forward(token(0)));
            iou = sigmoid(iou);
        }
        let hq = hq_features.map(|features| HqInput {
            token: token(before_iou + 1 + outputs),
            features,
        });
        let tokens = tokens.narrow(1, before_iou + 1, outputs);

        let hypernetworks = self.output_hypernetworks_mlps.iter().enumerate();
        let weights = hypernetworks
            .map(|(i, mlp)| mlp.forward(tokens.clone().narrow(1, i, 1)))
            .collect();
        DecodedTokens {
            iou,
            tokens,
            object_score,
            cells,
            grid: [rows, columns],
            weights: Tensor::cat(weights, 1),
            details,
            hq,
        }
    }

    /// The masks of some outputs, whose predicted IoU is known before any mask is made. `outputs` names the wanted outputs
    /// of each prompt, as many for every prompt, one prompt after the other.
    ///
    /// # Shapes
    /// - output: `[batch, outputs of a prompt, 4 * grid, 4 * grid]`, logits as those of [`DecoderOutput::masks`]
    pub fn masks(&self, decoded: DecodedTokens, outputs: &[usize]) -> Tensor<4> {
        let [batch, all, features] = decoded.weights.dims();
        let each = outputs.len() / batch.max(1);
        let rows = outputs.iter().enumerate();
        let rows: Vec<i64> = rows
            .map(|(at, output)| (at / each.max(1) * all + output) as i64)
            .collect();
        let count = rows.len();
        let rows = TensorData::new(rows, [count]);
        let rows = Tensor::<1, Int>::from_data(rows, &decoded.weights.device());
        let weights = decoded
            .weights
            .clone()
            .reshape([batch * all, features])
            .select(0, rows)
            .reshape([batch, each, features]);
        self.weighted_masks(decoded, weights)
    }

    /// Masks as sums of pixel features with weights.
    ///
    /// # Shapes
    /// - weights: `[batch, outputs, dim / 8]`
    /// - output: `[batch, outputs, 4 * grid, 4 * grid]`
    fn weighted_masks(&self, decoded: DecodedTokens, weights: Tensor<3>) -> Tensor<4> {
        let upscaling = &self.output_upscaling;
        let (Some(hq), Some(HqInput { token, features })) = (&self.hq, decoded.hq) else {
            let details = decoded.details.as_ref();
            return upscaling.forward(decoded.cells, decoded.grid, weights, details);
        };
        let [batch, outputs, _] = weights.dims();
        let [_, channels, height, width] = features.dims();
        let of_prompt = |at: usize| {
            let pixels = upscaling.pixels(decoded.cells.clone().narrow(0, at, 1), decoded.grid);
            let flat = pixels.clone().reshape([1, channels, height * width]);
            let plain = weights.clone().narrow(0, at, 1).matmul(flat);
            let token = token.clone().narrow(0, at, 1);
            let added = hq.mask(token, pixels, features.clone());
            plain.reshape([1, outputs, height, width]) + added
        };
        Tensor::cat((0..batch).map(of_prompt).collect(), 0)
    }
}

/// # Shapes
/// - input: `[batch, dim, height, width]`
/// - output: `[batch, height * width, dim]`
fn channels_last(input: Tensor<4>) -> Tensor<3> {
    input.flatten::<3>(2, 3).swap_dims(1, 2)
}

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
    fn new(dim: usize, device: &Device) -> Self {
        let double = |from, to| {
            ConvTranspose2dConfig::new([from, to], [2, 2])
                .with_stride([2, 2])
                .init(device)
        };
        Self {
            conv1: double(dim, dim / 4),
            norm: LayerNorm2d::new(dim / 4, device),
            conv2: double(dim / 4, dim / 8),
        }
    }

    /// # Shapes
    /// - cells: `[batch, height * width, dim]`
    /// - grid: `[height, width]` of the cells
    /// - weights: `[batch, outputs, dim / 8]`
    /// - output: `[batch, outputs, 4 * height, 4 * width]`
    fn forward(
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
    fn pixels(&self, cells: Tensor<3>, [height, width]: [usize; 2]) -> Tensor<4> {
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

/// Cells whose pixels are made at the same time on the CPU, so that they stay in its cache: 1 MB.
const TILE: usize = 128;

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
            let part = details.map(|details| Details {
                eighths: details
                    .eighths
                    .clone()
                    .slice([4 * tile.start..4 * tile.end]),
                quarters: details
                    .quarters
                    .clone()
                    .slice([16 * tile.start..16 * tile.end]),
            });
            let cells = cells.clone().slice([prompt..prompt + 1, tile.clone()]);
            let weights = weights.clone().slice([prompt..prompt + 1]);
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
