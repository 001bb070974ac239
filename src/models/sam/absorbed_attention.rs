//! Attention between few tokens and many cells of an image, without projecting the cells.
//!
//! With T tokens, h heads and N cells of C channels, plain attention brings all cells to the `inner` channels of queries, keys
//! or values: `N * C * inner` multiplications each. As projections are linear, they can be moved to the other side of the
//! product instead: scores of head i are `(x W_k,i) q_i = x (W_k,i q_i)`, and values are mixed before they are projected,
//! `P_i (x W_v,i) = (P_i x) W_v,i`. Each is a product of the cells with `h * T` vectors, which for a click are fewer than
//! `inner`. The results are equal but for rounding.
//!
//! A bias of keys adds the same to all scores of a query, so softmax takes it away.

use burn::tensor::{Tensor, TensorData};
use grainstore_kernels::softmax_scores;

use super::decoder_attention::DecoderAttention;
use crate::models::layers::{attention, update_values, works_on_slices};

/// Cells of an image, with and without their positions.
#[derive(Clone)]
pub(super) struct PlacedCells {
    /// `[batch or 1, cells, dim]`.
    pub cells: Tensor<3>,
    /// Their sum with the positions, of the same shape.
    pub placed: Tensor<3>,
}

impl PlacedCells {
    pub fn new(cells: &Tensor<3>, position: &Tensor<3>) -> Self {
        Self {
            cells: cells.clone(),
            placed: cells.clone() + position.clone(),
        }
    }
}

impl DecoderAttention {
    /// Whether moving projections to the tokens saves work: on the CPU, for few tokens.
    pub(super) fn is_absorbed(&self, tokens: &Tensor<3>) -> bool {
        let [_, count, _] = tokens.dims();
        let [_, inner] = self.q_proj.weight.val().dims();
        works_on_slices(&tokens.device(), tokens.dtype()) && self.heads * count < inner
    }

    /// Lets tokens see the cells.
    ///
    /// # Shapes
    /// - tokens, with their positions: `[batch, tokens, dim]`
    /// - output: `[batch, tokens, dim]`
    pub(super) fn token_to_cells(&self, tokens: Tensor<3>, image: &PlacedCells) -> Tensor<3> {
        let [batch, count, dim] = tokens.dims();
        let queries = self.by_head(self.q_proj.forward(tokens));
        let [_, _, inner] = queries.dims();
        let queries = queries.matmul(self.k_proj.weight.val().transpose().unsqueeze());
        let [queries, keys, values] =
            [queries, image.placed.clone(), image.cells.clone()].map(|it| it.unsqueeze_dim::<4>(1));
        let mixed = attention(queries, keys, values, self.scale(), None);
        let mixed = mixed.reshape([batch, self.heads * count, dim]);
        let of_all_heads = mixed.matmul(self.v_proj.weight.val().unsqueeze());
        // Of what all heads make of a head's mixture, only the head's own is wanted.
        let own = self.own_channels(&of_all_heads);
        let own = of_all_heads.reshape([batch, self.heads, count, inner])
            * own.reshape([1, self.heads, 1, inner]);
        let mut joined = own.sum_dim(1).squeeze_dim::<3>(1);
        if let Some(bias) = &self.v_proj.bias {
            joined = joined + bias.val().unsqueeze();
        }
        self.out_proj.forward(joined)
    }

    /// Lets cells see the tokens.
    ///
    /// # Shapes
    /// - placed: the tokens with their positions, `[batch, tokens, dim]`; tokens: the same without
    /// - output: `[batch, cells, dim]`
    pub(super) fn cells_to_token(
        &self,
        image: &PlacedCells,
        placed: Tensor<3>,
        tokens: Tensor<3>,
    ) -> Tensor<3> {
        let [batch, count, _] = placed.dims();
        let [images, cells, _] = image.cells.dims();
        let keys = self.by_head(self.k_proj.forward(placed)).swap_dims(1, 2);
        let scores = if images == 1 {
            // The cells of one image are projected once for all prompts.
            self.q_proj.forward(image.placed.clone()).matmul(keys)
        } else {
            let bias = self.q_proj.bias.as_ref();
            let bias = bias.map(|it| it.val().unsqueeze::<3>().matmul(keys.clone()));
            let keys = self.q_proj.weight.val().unsqueeze::<3>().matmul(keys);
            let scores = image.placed.clone().matmul(keys);
            match bias {
                Some(bias) => scores + bias,
                None => scores,
            }
        };
        let weights = self.softmax_of_tokens(scores.reshape([batch * cells * self.heads, count]));
        let values = self.by_head(self.v_proj.forward(tokens));
        let values = values.matmul(self.out_proj.weight.val().unsqueeze());
        let seen = weights
            .reshape([batch, cells, self.heads * count])
            .matmul(values);
        match &self.out_proj.bias {
            Some(bias) => seen + bias.val().unsqueeze(),
            None => seen,
        }
    }

    /// Softmax over the tokens of each cell and head, on the CPU.
    ///
    /// # Shapes
    /// - scores and output: `[rows, tokens]`
    fn softmax_of_tokens(&self, scores: Tensor<2>) -> Tensor<2> {
        let device = scores.device();
        let [_, count] = scores.dims();
        let scale = self.scale() as f32;
        let weights = update_values(scores.into_data(), |scores| {
            softmax_scores(scores, count, scale, None);
        });
        Tensor::from_data(weights, &device)
    }

    /// Each token once per head, with the channels of other heads set to 0.
    ///
    /// # Shapes
    /// - input: `[batch, tokens, inner]`
    /// - output: `[batch, heads * tokens, inner]`
    fn by_head(&self, tokens: Tensor<3>) -> Tensor<3> {
        let [batch, count, inner] = tokens.dims();
        let own = self
            .own_channels(&tokens)
            .reshape([1, self.heads, 1, inner]);
        (tokens.unsqueeze_dim::<4>(1) * own).reshape([batch, self.heads * count, inner])
    }

    /// 1 for the channels of a head, 0 for those of others.
    ///
    /// # Shapes
    /// - output: `[heads, inner]`
    fn own_channels(&self, like: &Tensor<3>) -> Tensor<2> {
        let [_, inner] = self.q_proj.weight.val().dims();
        let of_head = inner / self.heads.max(1);
        let own = (0..self.heads * inner).map(|at| {
            let (head, channel) = (at / inner, at % inner);
            f32::from(u8::from(channel / of_head == head))
        });
        let own = TensorData::new(own.collect::<Vec<f32>>(), [self.heads, inner]);
        Tensor::<2>::from_data(own, &like.device()).cast(like.dtype())
    }

    fn scale(&self) -> f64 {
        let [_, inner] = self.q_proj.weight.val().dims();
        ((inner / self.heads.max(1)) as f64).powf(-0.5)
    }
}
