//! Predicts masks, their IoU and their tokens from an image embedding and prompts (upstream: `mask_decoder.py`).

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Embedding, EmbeddingConfig};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::config::SamConfig;
use super::decoder_mlp::{DecoderMlp, DecoderMlpSizes};
use super::hq_decoder::HqDecoder;
use super::image_embedding::{Details, ImageEmbedding};
use super::prompt_encoder::PromptEmbeddings;
use super::transformer::TwoWayTransformer;
use super::upscaling::OutputUpscaling;

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
        let hypernetwork = DecoderMlpSizes::of_token(dim, dim / 8);
        let iou_head = DecoderMlpSizes {
            input: dim,
            hidden: decoder.iou_head_hidden,
            output: outputs,
            layers: decoder.iou_head_depth,
        };
        let object_head = DecoderMlpSizes::of_token(dim, 1);
        let is_sam2 = config.is_sam2_or_3();
        let detail = |to| is_sam2.then(|| Conv2dConfig::new([dim, to], [1, 1]).init(device));
        Self {
            transformer: TwoWayTransformer::new(dim, decoder, device),
            iou_token: EmbeddingConfig::new(1, dim).init(device),
            mask_tokens: EmbeddingConfig::new(outputs, dim).init(device),
            output_upscaling: OutputUpscaling::new([dim, dim / 4, dim / 8], device),
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
