//! Scaled dot-product attention, used by all parts of the model.
//!
//! In: queries, keys and values per head, and optionally a bias. Out: values mixed per head. On the CPU, scores are
//! computed in blocks that fit the cache, except with a bias per head. Other devices use burn's attention.

use burn::tensor::module::attention as fused_attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Tensor, TensorData, activation::softmax};
use grainstore_kernels::{PositionTerms, softmax_scores};

use super::kernels::{update_values, works_on_slices};
use super::relative_position::RelativePosition;

/// Scores held at a time on the CPU, 8 MiB of f32.
const BLOCK_SCORES: usize = 2 * 1024 * 1024;

/// A bias to add to attention scores.
#[allow(clippy::large_enum_variant)] // lives for one call
pub(in crate::models) enum ScoreBias {
    /// Decomposed relative positions.
    Decomposed(RelativePosition),
    /// One matrix per head for the complete batch, `[heads, tokens, keys]`.
    PerHead(Tensor<3>),
}

impl ScoreBias {
    /// # Shapes
    /// - output: `[batch or 1, heads, tokens, keys]`
    fn into_tensor(self) -> Tensor<4> {
        match self {
            Self::Decomposed(position) => position.into_bias(),
            Self::PerHead(bias) => bias.unsqueeze(),
        }
    }
}

/// Computes `softmax(scale * queries . keys + bias) . values` per head.
///
/// # Shapes
/// - queries: `[batch or 1, heads, tokens, head_dim]`
/// - keys: `[batch or 1, heads, keys, head_dim]`
/// - values: `[batch or 1, heads, keys, value_dim]`, with the batch of the keys
/// - output: `[batch, heads, tokens, value_dim]`
pub(in crate::models) fn attention(
    queries: Tensor<4>,
    keys: Tensor<4>,
    values: Tensor<4>,
    scale: f64,
    bias: Option<ScoreBias>,
) -> Tensor<4> {
    let [query_batch, heads, tokens, head_dim] = queries.dims();
    let [key_batch, _, _, value_dim] = values.dims();
    if key_batch == 1 && query_batch > 1 && bias.is_none() {
        // All queries have the same keys, so they can form one long list.
        let joined = queries
            .swap_dims(0, 1)
            .reshape([1, heads, query_batch * tokens, head_dim]);
        return same_batch(joined, keys, values, scale, None)
            .reshape([heads, query_batch, tokens, value_dim])
            .swap_dims(0, 1);
    }
    let queries = if query_batch == key_batch {
        queries
    } else {
        queries.expand([key_batch, heads, tokens, head_dim])
    };
    same_batch(queries, keys, values, scale, bias)
}

fn same_batch(
    queries: Tensor<4>,
    keys: Tensor<4>,
    values: Tensor<4>,
    scale: f64,
    bias: Option<ScoreBias>,
) -> Tensor<4> {
    let device = queries.device();
    if works_on_slices(&device, queries.dtype()) {
        return match bias {
            None => in_blocks(queries, keys, values, scale, None),
            Some(ScoreBias::Decomposed(it)) => in_blocks(queries, keys, values, scale, Some(it)),
            Some(ScoreBias::PerHead(bias)) => {
                let scores = (queries * scale).matmul(keys.swap_dims(2, 3)) + bias.unsqueeze();
                let [.., key_count] = scores.dims();
                let weights = update_values(scores.into_data(), |scores| {
                    softmax_scores(scores, key_count, 1.0, None);
                });
                Tensor::from_data(weights, &device).matmul(values)
            }
        };
    }
    let bias = bias.map(ScoreBias::into_tensor);
    if device.is_autodiff() {
        let mut scores = (queries * scale).matmul(keys.swap_dims(2, 3));
        if let Some(bias) = bias {
            scores = scores + bias;
        }
        return softmax(scores, 3).matmul(values);
    }
    let options = AttentionModuleOptions {
        scale: Some(scale),
        ..Default::default()
    };
    fused_attention(queries, keys, values, None, bias, options)
}

/// Attention on the CPU, with as many scores at a time as fit the cache.
fn in_blocks(
    queries: Tensor<4>,
    keys: Tensor<4>,
    values: Tensor<4>,
    scale: f64,
    position: Option<RelativePosition>,
) -> Tensor<4> {
    let device = queries.device();
    let [batch, heads, tokens, head_dim] = queries.dims();
    let [_, _, key_count, value_dim] = values.dims();
    let groups = batch * heads;
    let queries = queries.reshape([groups, tokens, head_dim]);
    let keys = keys.reshape([groups, key_count, head_dim]).swap_dims(1, 2);
    let values = values.reshape([groups, key_count, value_dim]);
    let position = position.map(PositionValues::read);

    let block_groups = (BLOCK_SCORES / (tokens * key_count).max(1)).clamp(1, groups);
    let block_tokens = (BLOCK_SCORES / key_count.max(1)).clamp(1, tokens);
    let mut mixed = Vec::new();
    for group in (0..groups).step_by(block_groups) {
        let some_groups = group..groups.min(group + block_groups);
        let keys = keys.clone().slice([some_groups.clone()]);
        let values = values.clone().slice([some_groups.clone()]);
        let mut parts = Vec::new();
        for token in (0..tokens).step_by(block_tokens) {
            let some_tokens = token..tokens.min(token + block_tokens);
            let queries = queries
                .clone()
                .slice([some_groups.clone(), some_tokens.clone()]);
            let scores = queries.matmul(keys.clone()).into_data();
            // If a block has more than one group, it holds all tokens of each.
            let first = group * tokens + some_tokens.start;
            let count = some_groups.len() * some_tokens.len();
            let terms = position.as_ref().and_then(|it| it.of(first, count));
            let weights = update_values(scores, |scores| {
                softmax_scores(scores, key_count, scale as f32, terms);
            });
            parts.push(Tensor::<3>::from_data(weights, &device).matmul(values.clone()));
        }
        mixed.push(join(parts, 1, &device));
    }
    join(mixed, 0, &device).reshape([batch, heads, tokens, value_dim])
}

fn join(mut parts: Vec<Tensor<3>>, dim: usize, device: &Device) -> Tensor<3> {
    match parts.len() {
        0 => Tensor::zeros([0, 0, 0], device),
        1 => parts.swap_remove(0),
        _ => Tensor::cat(parts, dim),
    }
}

/// Relative positions of all queries, as plain values.
struct PositionValues {
    rows: TensorData,
    columns: TensorData,
    grid: [usize; 2],
}

impl PositionValues {
    fn read(position: RelativePosition) -> Self {
        let [.., height] = position.height.dims();
        let [.., width] = position.width.dims();
        Self {
            rows: position.height.into_data(),
            columns: position.width.into_data(),
            grid: [height, width],
        }
    }

    /// The terms of `count` queries, starting at query `first`.
    fn of(&self, first: usize, count: usize) -> Option<PositionTerms<'_>> {
        let [height, width] = self.grid;
        let rows = self.rows.as_slice::<f32>().ok()?;
        let columns = self.columns.as_slice::<f32>().ok()?;
        Some(PositionTerms {
            rows: rows.get(first * height..(first + count) * height)?,
            columns: columns.get(first * width..(first + count) * width)?,
            grid: self.grid,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use burn::tensor::Distribution;

    use super::*;
    use crate::models::layers::relative_position::RelativePositionTables;

    fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
    }

    fn plain(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, bias: Option<Tensor<4>>) -> Tensor<4> {
        let mut scores = (q * 0.3).matmul(k.swap_dims(2, 3));
        if let Some(bias) = bias {
            scores = scores + bias;
        }
        softmax(scores, 3).matmul(v)
    }

    fn assert_close(found: Tensor<4>, expected: Tensor<4>) {
        let difference = (found - expected).abs().max().into_scalar::<f32>();
        assert!(difference < 5e-5, "{difference}");
    }

    #[test]
    fn blocks_make_no_difference() {
        // Rows in blocks; groups in blocks; a single block; different numbers of keys and queries.
        for [batch, heads, tokens, keys] in [[1, 2, 1500, 2000], [30, 3, 196, 196], [2, 2, 5, 7]] {
            let [q, k, v] = [tokens, keys, keys].map(|n| random([batch, heads, n, 8]));
            let found = attention(q.clone(), k.clone(), v.clone(), 0.3, None);
            assert_close(found, plain(q, k, v, None));
        }
    }

    #[test]
    fn a_batch_of_one_is_shared() {
        let (many, one) = (random([3, 2, 5, 8]), random([1, 2, 40, 8]));
        let shared = one.clone().expand([3, 2, 40, 8]);
        let found = attention(many.clone(), one.clone(), one.clone(), 0.3, None);
        assert_close(
            found,
            plain(many.clone(), shared.clone(), shared.clone(), None),
        );
        let found = attention(one, many.clone(), many.clone(), 0.3, None);
        assert_close(found, plain(shared, many.clone(), many, None));
    }

    #[test]
    fn relative_positions_are_a_bias() {
        for (batch, grid) in [(1, [40, 50]), (9, [7, 7])] {
            let tokens = grid[0] * grid[1];
            let [q, k, v] = [0; 3].map(|_| random([batch, 2, tokens, 8]));
            let tables = [random([2 * grid[0] - 1, 8]), random([2 * grid[1] - 1, 8])];
            let position = || {
                let [height, width] = tables.clone();
                RelativePosition::new(q.clone(), RelativePositionTables { height, width }, grid)
            };
            let bias = ScoreBias::Decomposed(position());
            let found = attention(q.clone(), k.clone(), v.clone(), 0.3, Some(bias));
            assert_close(found, plain(q.clone(), k, v, Some(position().into_bias())));
        }
    }

    #[test]
    #[ignore = "measures"]
    fn how_long_attention_takes() {
        for (name, shape) in [
            ("global", [1, 12, 4096, 64]),
            ("windows", [25, 12, 196, 64]),
        ] {
            let [q, k, v] = [0; 3].map(|_| random(shape));
            let args = || (q.clone(), k.clone(), v.clone());
            let time = |what: &str, run: &dyn Fn() -> Tensor<4>| {
                let seconds = [0; 3].map(|_| {
                    let start = Instant::now();
                    std::hint::black_box(run().into_data());
                    start.elapsed().as_secs_f64()
                });
                println!(
                    "{name} {what}: {:.3} s",
                    seconds.into_iter().fold(f64::MAX, f64::min)
                );
            };
            time("here", &|| {
                let (q, k, v) = args();
                attention(q, k, v, 0.125, None)
            });
            time("burn's attention", &|| {
                let (q, k, v) = args();
                fused_attention(q, k, v, None, None, AttentionModuleOptions::default())
            });
            time("matmul, softmax, matmul", &|| {
                let (q, k, v) = args();
                plain(q, k, v, None)
            });
        }
    }
}
