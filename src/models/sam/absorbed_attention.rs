//! Attention between few tokens and many cells of an image, without projecting the cells.
//!
//! With T tokens, h heads and N cells of C channels, plain attention brings all cells to the `inner` channels of queries, keys
//! or values: `N * C * inner` multiplications each. As projections are linear, they can be moved to the other side of the
//! product instead: scores of head i are `(x W_k,i) q_i = x (W_k,i q_i)`, and values are mixed before they are projected,
//! `P_i (x W_v,i) = (P_i x) W_v,i`. Each is a product of the cells with `h * T` vectors, which for a click are fewer than
//! `inner`. The results are equal but for rounding.
//!
//! A bias of keys adds the same to all scores of a query, so softmax takes it away.

use burn::nn::LayerNorm;
use burn::tensor::{Tensor, TensorData};

use super::cell_tiles::{CellLook, CellUpdate};
use super::decoder_attention::DecoderAttention;
use crate::models::layers::{attention, works_on_slices};

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
    pub(super) fn token_to_cells(
        &self,
        tokens: Tensor<3>,
        cells: &Tensor<3>,
        position: &Tensor<3>,
    ) -> Tensor<3> {
        let CellLook { queries, .. } = self.look_of(tokens);
        let placed = cells.clone() + position.clone();
        let [queries, keys, values] =
            [queries, placed, cells.clone()].map(|it| it.unsqueeze_dim::<4>(1));
        let mixed = attention(queries, keys, values, self.scale(), None);
        self.seen_of(mixed.squeeze_dim(1))
    }

    /// How tokens look at cells.
    ///
    /// # Shapes
    /// - tokens, with their positions: `[batch, tokens, dim]`
    pub(super) fn look_of(&self, tokens: Tensor<3>) -> CellLook {
        let [batch, count, _] = tokens.dims();
        let queries = self.q_proj.forward(tokens);
        let [_, _, inner] = queries.dims();
        let own = self.own_channels(&queries);
        let queries = queries.unsqueeze_dim::<4>(1) * own.reshape([1, self.heads, 1, inner]);
        let queries = queries.reshape([batch, self.heads * count, inner]);
        CellLook {
            queries: queries.matmul(self.k_proj.weight.val().transpose().unsqueeze()),
            scale: self.scale() as f32,
        }
    }

    /// What tokens have seen, from the mixtures of cells that each head made for each of them.
    ///
    /// # Shapes
    /// - mixed: `[batch, heads * tokens, dim]`
    /// - output: `[batch, tokens, dim]`
    pub(super) fn seen_of(&self, mixed: Tensor<3>) -> Tensor<3> {
        let [batch, rows, _] = mixed.dims();
        let of_all_heads = mixed.matmul(self.v_proj.weight.val().unsqueeze());
        let [_, _, inner] = of_all_heads.dims();
        // Of what all heads make of a head's mixture, only the head's own is wanted.
        let own = self.own_channels(&of_all_heads);
        let own = of_all_heads.reshape([batch, self.heads, rows / self.heads.max(1), inner])
            * own.reshape([1, self.heads, 1, inner]);
        let mut joined = own.sum_dim(1).squeeze_dim::<3>(1);
        if let Some(bias) = &self.v_proj.bias {
            joined = joined + bias.val().unsqueeze();
        }
        self.out_proj.forward(joined)
    }

    /// What cells see of the tokens, with the normalisation that follows.
    ///
    /// # Shapes
    /// - placed: the tokens with their positions, `[batch, tokens, dim]`; tokens: the same without
    pub(super) fn update_of<'a>(
        &self,
        placed: Tensor<3>,
        tokens: Tensor<3>,
        norm: &'a LayerNorm,
    ) -> CellUpdate<'a> {
        let keys = self.by_token(self.k_proj.forward(placed));
        let bias = self.q_proj.bias.as_ref().map(|bias| bias.val());
        let offsets = bias.map(|bias| keys.clone().matmul(bias.unsqueeze_dim::<2>(1).unsqueeze()));
        let values = self.by_token(self.v_proj.forward(tokens));
        let mut values = values.matmul(self.out_proj.weight.val().unsqueeze());
        if let Some(bias) = &self.out_proj.bias {
            // The weights of each head sum to 1.
            values = values + (bias.val() / self.heads as f64).unsqueeze();
        }
        CellUpdate {
            keys: self
                .q_proj
                .weight
                .val()
                .unsqueeze::<3>()
                .matmul(keys.swap_dims(1, 2)),
            offsets,
            values,
            heads: self.heads,
            scale: self.scale() as f32,
            norm,
        }
    }

    /// Each token once per head, with the channels of other heads set to 0.
    ///
    /// # Shapes
    /// - input: `[batch, tokens, inner]`
    /// - output: `[batch, tokens * heads, inner]`
    fn by_token(&self, tokens: Tensor<3>) -> Tensor<3> {
        let [batch, count, inner] = tokens.dims();
        let own = self
            .own_channels(&tokens)
            .reshape([1, 1, self.heads, inner]);
        (tokens.unsqueeze_dim::<4>(2) * own).reshape([batch, count * self.heads, inner])
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
