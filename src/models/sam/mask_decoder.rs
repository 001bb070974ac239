//! Predicts masks, their IoU and their tokens from an image embedding and prompts (upstream: `mask_decoder.py`).
//!
//! Upscaling keeps channels last. A transposed convolution whose stride equals its kernel is a matrix product per cell,
//! so only the finished masks, not the wide feature maps, have to be put in pixel order.

use burn::module::Module;
use burn::nn::conv::{ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::config::SamConfig;
use super::prompt_encoder::PromptEmbeddings;
use super::transformer::TwoWayTransformer;
use crate::models::layers::LayerNorm2d;
use crate::models::layers::gelu;

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
}

/// What the decoder knows of each row of a batch before it makes masks.
#[derive(Clone, Debug)]
pub struct DecodedTokens {
    /// As [`DecoderOutput::iou`].
    pub iou: Tensor<2>,
    /// As [`DecoderOutput::tokens`].
    pub tokens: Tensor<3>,
    /// Cells of the image after the transformer, `[batch, rows * columns, dim]`.
    cells: Tensor<3>,
    /// Rows and columns of the cells.
    grid: [usize; 2],
    /// Weights over pixel features, `[batch, outputs, dim / 8]`.
    weights: Tensor<3>,
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
    pub output_hypernetworks_mlps: Vec<Mlp>,
    /// Maps the IoU token to one IoU per mask output.
    pub iou_prediction_head: Mlp,
}

impl MaskDecoder {
    /// Creates a decoder with random weights.
    pub fn new(config: &SamConfig, device: &Device) -> Self {
        let (dim, decoder) = (config.prompt_dim, &config.decoder);
        let outputs = decoder.mask_tokens();
        let hypernetwork = MlpSizes {
            input: dim,
            hidden: dim,
            output: dim / 8,
            layers: 3,
        };
        let iou_head = MlpSizes {
            input: dim,
            hidden: decoder.iou_head_hidden,
            output: outputs,
            layers: decoder.iou_head_depth,
        };
        Self {
            transformer: TwoWayTransformer::new(dim, decoder, device),
            iou_token: EmbeddingConfig::new(1, dim).init(device),
            mask_tokens: EmbeddingConfig::new(outputs, dim).init(device),
            output_upscaling: OutputUpscaling::new(dim, device),
            output_hypernetworks_mlps: (0..outputs)
                .map(|_| Mlp::new(hypernetwork, device))
                .collect(),
            iou_prediction_head: Mlp::new(iou_head, device),
        }
    }

    /// Predicts all mask outputs for each prompt.
    ///
    /// # Shapes
    /// - image: `[1, dim, grid, grid]`
    /// - image_position: `[1, dim, grid, grid]`, from the prompt encoder
    /// - output: see [`DecoderOutput`]
    pub fn forward(
        &self,
        image: Tensor<4>,
        image_position: Tensor<4>,
        prompts: PromptEmbeddings,
    ) -> DecoderOutput {
        let decoded = self.tokens(image, image_position, prompts);
        let masks = self
            .output_upscaling
            .forward(decoded.cells, decoded.grid, decoded.weights);
        DecoderOutput {
            masks,
            iou: decoded.iou,
            tokens: decoded.tokens,
        }
    }

    /// The steps of [`MaskDecoder::forward`] before any mask: [`MaskDecoder::masks`] makes those that are wanted.
    ///
    /// # Shapes
    /// As those of [`MaskDecoder::forward`].
    pub fn tokens(
        &self,
        image: Tensor<4>,
        image_position: Tensor<4>,
        prompts: PromptEmbeddings,
    ) -> DecodedTokens {
        let PromptEmbeddings { sparse, dense } = prompts;
        let [batch, _, dim] = sparse.dims();
        let [outputs, _] = self.mask_tokens.weight.val().dims();
        let output_tokens = Tensor::cat(
            vec![self.iou_token.weight.val(), self.mask_tokens.weight.val()],
            0,
        );
        let output_tokens = output_tokens
            .unsqueeze::<3>()
            .expand([batch, 1 + outputs, dim]);
        let tokens = Tensor::cat(vec![output_tokens, sparse], 1);

        let [_, _, rows, columns] = image.dims();
        let cells = channels_last(image + dense);
        let (tokens, cells) =
            self.transformer
                .forward(cells, channels_last(image_position), tokens);
        let iou_token = tokens.clone().narrow(1, 0, 1).squeeze_dim::<2>(1);
        let tokens = tokens.narrow(1, 1, outputs);

        let hypernetworks = self.output_hypernetworks_mlps.iter().enumerate();
        let weights = hypernetworks
            .map(|(i, mlp)| mlp.forward(tokens.clone().narrow(1, i, 1)))
            .collect();
        DecodedTokens {
            iou: self.iou_prediction_head.forward(iou_token),
            tokens,
            cells,
            grid: [rows, columns],
            weights: Tensor::cat(weights, 1),
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
            .reshape([batch * all, features])
            .select(0, rows)
            .reshape([batch, each, features]);
        self.output_upscaling
            .forward(decoded.cells, decoded.grid, weights)
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
    fn forward(&self, cells: Tensor<3>, grid: [usize; 2], weights: Tensor<3>) -> Tensor<4> {
        let [batch, count, dim] = cells.dims();
        let [_, outputs, features] = weights.dims();
        let [height, width] = grid;
        let doubled = double(&self.conv1, cells.reshape([batch * count, dim]));
        let doubled = gelu(self.norm.forward_channels_last(doubled));
        let pixels = gelu(double(&self.conv2, doubled)).reshape([batch, count * 16, features]);
        weights
            .matmul(pixels.swap_dims(1, 2))
            .reshape([batch, outputs, height, width, 2, 2, 2, 2])
            .permute([0, 1, 2, 4, 6, 3, 5, 7])
            .reshape([batch, outputs, 4 * height, 4 * width])
    }
}

/// A transposed convolution with kernel and stride 2. Each row becomes four, left to right, then down.
///
/// # Shapes
/// - rows: `[count, from]`
/// - output: `[count * 4, to]`
fn double(conv: &ConvTranspose2d, rows: Tensor<2>) -> Tensor<2> {
    let weight = conv.weight.val();
    let [from, to, ..] = weight.dims();
    let [count, _] = rows.dims();
    let weight = weight.permute([0, 2, 3, 1]).reshape([from, 4 * to]);
    let bias = conv.bias.as_ref().map(|bias| bias.val().repeat_dim(0, 4));
    burn::tensor::module::linear(rows, weight, bias).reshape([count * 4, to])
}

/// Linear layers with ReLU between them.
#[derive(Module, Debug)]
pub struct Mlp {
    /// The layers.
    pub layers: Vec<Linear>,
}

#[derive(Clone, Copy)]
struct MlpSizes {
    input: usize,
    hidden: usize,
    output: usize,
    layers: usize,
}

impl Mlp {
    fn new(sizes: MlpSizes, device: &Device) -> Self {
        let last = sizes.layers - 1;
        let layer = |i| {
            let from = if i == 0 { sizes.input } else { sizes.hidden };
            let to = if i == last {
                sizes.output
            } else {
                sizes.hidden
            };
            LinearConfig::new(from, to).init(device)
        };
        Self {
            layers: (0..sizes.layers).map(layer).collect(),
        }
    }

    /// # Shapes
    /// - input: `[..., input]`
    /// - output: `[..., output]`
    fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        let mut hidden = input;
        for (i, layer) in self.layers.iter().enumerate() {
            hidden = layer.forward(hidden);
            if i + 1 < self.layers.len() {
                hidden = relu(hidden);
            }
        }
        hidden
    }
}
