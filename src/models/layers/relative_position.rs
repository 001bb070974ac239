//! Decomposed relative positions of the image encoder (upstream: `get_rel_pos`,
//! `add_decomposed_rel_pos`; paper: MViTv2).
//!
//! Attention between tokens a and b gains `q_a . R_h[row_a - row_b] + q_a . R_w[col_a - col_b]`. The two terms are kept
//! separate here, so that the full `[tokens, tokens]` bias is never needed.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// Learned relative positions of one attention layer.
pub(in crate::models) struct RelativePositionTables {
    /// `[2 * side - 1, head_dim]`, by row difference.
    pub height: Tensor<2>,
    /// `[2 * side - 1, head_dim]`, by column difference.
    pub width: Tensor<2>,
}

/// The terms that relative position adds to each attention score: one per key row and one per key column.
pub(in crate::models) struct RelativePosition {
    /// `[batch, heads, tokens, height]`: the term for each row that a key may be in.
    pub height: Tensor<4>,
    /// `[batch, heads, tokens, width]`: the term for each column that a key may be in.
    pub width: Tensor<4>,
}

impl RelativePosition {
    /// The terms of every query on a grid of `[height, width]` tokens.
    ///
    /// # Shapes
    /// - queries: `[batch, heads, height * width, head_dim]`, not scaled
    pub fn new(queries: Tensor<4>, tables: RelativePositionTables, grid: [usize; 2]) -> Self {
        let [batch, heads, tokens, head_dim] = queries.dims();
        let [height, width] = grid;
        let queries = queries.reshape([batch * heads, height, width, head_dim]);

        let by_row = by_offset(tables.height, height).swap_dims(1, 2).unsqueeze();
        let row_terms = queries.clone().matmul(by_row);

        let by_column = by_offset(tables.width, width).swap_dims(1, 2).unsqueeze();
        let column_terms = queries.swap_dims(1, 2).matmul(by_column).swap_dims(1, 2);

        Self {
            height: row_terms.reshape([batch, heads, tokens, height]),
            width: column_terms.reshape([batch, heads, tokens, width]),
        }
    }

    /// The complete bias, for kernels that need it as one tensor.
    ///
    /// # Shapes
    /// - output: `[batch, heads, tokens, height * width]`
    pub fn into_bias(self) -> Tensor<4> {
        let [batch, heads, tokens, height] = self.height.dims();
        let [.., width] = self.width.dims();
        let rows = self.height.reshape([batch, heads, tokens, height, 1]);
        let columns = self.width.reshape([batch, heads, tokens, 1, width]);
        (rows + columns).reshape([batch, heads, tokens, height * width])
    }
}

/// The table's row for each (query, key) on an axis of `side` tokens. A table made for another side is interpolated
/// first.
///
/// # Shapes
/// - table: `[any, head_dim]`
/// - output: `[side, side, head_dim]`
fn by_offset(table: Tensor<2>, side: usize) -> Tensor<3> {
    let device = table.device();
    let [length, head_dim] = table.dims();
    let offsets = 2 * side - 1;
    let table = if length == offsets {
        table
    } else {
        let dtype = table.dtype();
        interpolation(length, offsets, &device)
            .cast(dtype)
            .matmul(table)
    };
    let indices: Vec<i32> = (0..side)
        .flat_map(|query| (0..side).map(move |key| (query + side - 1 - key) as i32))
        .collect();
    let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, [side * side]), &device);
    table.select(0, indices).reshape([side, side, head_dim])
}

/// The matrix that resizes an axis linearly, as torch's `interpolate(mode="linear")`.
///
/// # Shapes
/// - output: `[to, from]`
fn interpolation(from: usize, to: usize, device: &Device) -> Tensor<2> {
    let mut weights = vec![0f32; to * from];
    for (i, row) in weights.chunks_exact_mut(from).enumerate() {
        let tap = super::resample::linear_tap(i, from, to);
        for (index, weight) in [(tap.low, 1.0 - tap.fraction), (tap.high, tap.fraction)] {
            if let Some(cell) = row.get_mut(index) {
                *cell += weight;
            }
        }
    }
    Tensor::from_data(TensorData::new(weights, [to, from]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_resized_as_torch_does() {
        // torch.nn.functional.interpolate(table.T[None], size=to, mode="linear")[0].T, torch 2.9.0
        let device = Device::flex();
        let table = [[1.0, 4.0], [2.0, -1.0], [0.5, 3.0], [7.0, 2.0], [-3.0, 1.0]];
        let table = Tensor::<2>::from_floats(table, &device);
        let resized = |to: usize| -> Vec<f32> {
            let resized = interpolation(5, to, &device).matmul(table.clone());
            resized.into_data().iter::<f32>().collect()
        };
        let close = |found: Vec<f32>, expected: &[f32]| {
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-5, "{found} {expected}");
            }
        };
        let three = [1.333_333, 2.333_333, 0.5, 3.0, 0.333_335, 1.333_333];
        close(resized(3), &three);
        let seven = [
            1.0, 4.0, 1.571_429, 1.142_857, 1.571_428, 0.142_858, 0.5, 3.0, 5.142_858, 2.285_714,
            2.714_285, 1.571_429, -3.0, 1.0,
        ];
        close(resized(7), &seven);
    }

    #[test]
    fn a_grid_of_another_size_takes_the_resized_table() {
        let device = Device::flex();
        let table = Tensor::<2>::from_floats([[0.0], [2.0], [4.0], [6.0], [8.0]], &device);
        let same = by_offset(table.clone(), 3);
        assert_eq!(same.dims(), [3, 3, 1]);
        // Query 0 and key 2 are two apart, which is the table's first row.
        assert_eq!(same.slice([0..1, 2..3, 0..1]).into_scalar::<f32>(), 0.0);
        let smaller = by_offset(table, 2);
        assert_eq!(smaller.dims(), [2, 2, 1]);
        let diagonal = smaller.slice([0..1, 0..1, 0..1]).into_scalar::<f32>();
        assert!((diagonal - 4.0).abs() < 1e-6, "{diagonal}");
    }
}
