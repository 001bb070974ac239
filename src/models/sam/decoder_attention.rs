//! Attention of the mask decoder, among tokens and between tokens and the image (upstream: `Attention` of `transformer.py`).

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use crate::models::layers::attention;

/// Attention with fewer channels inside than outside.
#[derive(Module, Debug)]
pub struct DecoderAttention {
    /// Projection of queries.
    pub q_proj: Linear,
    /// Projection of keys.
    pub k_proj: Linear,
    /// Projection of values.
    pub v_proj: Linear,
    /// Projection back to the outer channels.
    pub out_proj: Linear,
    pub(super) heads: usize,
}

impl DecoderAttention {
    pub(super) fn new(dim: usize, heads: usize, downsample: usize, device: &Device) -> Self {
        let inner = dim / downsample;
        let into = LinearConfig::new(dim, inner);
        Self {
            q_proj: into.init(device),
            k_proj: into.init(device),
            v_proj: into.init(device),
            out_proj: LinearConfig::new(inner, dim).init(device),
            heads,
        }
    }

    pub(super) fn among_tokens(&self, placed: Tensor<3>, tokens: Tensor<3>) -> Tensor<3> {
        let keys = self.k_proj.forward(placed.clone());
        self.mix(
            self.q_proj.forward(placed),
            keys,
            self.v_proj.forward(tokens),
        )
    }

    pub(super) fn token_to_image(
        &self,
        placed: Tensor<3>,
        image: Tensor<3>,
        position: &Tensor<3>,
    ) -> Tensor<3> {
        let keys = project_placed(&self.k_proj, image.clone(), position);
        self.mix(
            self.q_proj.forward(placed),
            keys,
            self.v_proj.forward(image),
        )
    }

    pub(super) fn image_to_token(
        &self,
        image: Tensor<3>,
        position: &Tensor<3>,
        placed: Tensor<3>,
        tokens: Tensor<3>,
    ) -> Tensor<3> {
        let queries = project_placed(&self.q_proj, image, position);
        self.mix(
            queries,
            self.k_proj.forward(placed),
            self.v_proj.forward(tokens),
        )
    }

    /// # Shapes
    /// - queries: `[batch or 1, queries, inner]`; keys, values: `[batch or 1, keys, inner]`
    /// - output: `[batch, queries, dim]`
    fn mix(&self, queries: Tensor<3>, keys: Tensor<3>, values: Tensor<3>) -> Tensor<3> {
        let [.., inner] = queries.dims();
        let head_dim = inner / self.heads;
        let [queries, keys, values] = [queries, keys, values].map(|it| {
            let [batch, length, _] = it.dims();
            it.reshape([batch, length, self.heads, head_dim])
                .swap_dims(1, 2)
        });
        let mixed = attention(queries, keys, values, (head_dim as f64).powf(-0.5), None);
        let [batch, _, length, _] = mixed.dims();
        self.out_proj
            .forward(mixed.swap_dims(1, 2).reshape([batch, length, inner]))
    }
}

/// `linear(image + position)`, computed as two projections: that of the position has batch 1, so no sum of the size of
/// the complete image batch is needed.
fn project_placed(linear: &Linear, image: Tensor<3>, position: &Tensor<3>) -> Tensor<3> {
    let [batch, ..] = image.dims();
    if batch == 1 {
        return linear.forward(image + position.clone());
    }
    burn::tensor::module::linear(image, linear.weight.val(), None)
        + linear.forward(position.clone())
}
