//! The image's side of the two-way transformer on the CPU.
//!
//! In: the cells of an image, and what tokens have for them and ask of them. Out: the updated cells, and the mixtures of them
//! that the tokens see. What tokens do is left to [`super::transformer`]; the products are those of
//! [`super::absorbed_attention`].
//!
//! Some cells of one prompt are processed at a time, so that all that is computed from them stays in a core's cache. Cells meet
//! each other only in a softmax over all of them, which can be summed up tile by tile. The tokens that look at the cells next
//! are known before the cells are updated, so one pass updates the cells of a tile and lets these tokens see them at once.

use burn::nn::LayerNorm;
use burn::tensor::{Device, Tensor, TensorData};
use grainstore_kernels::{ColumnSums, exp_of_columns, softmax_over_tokens};
use rayon::prelude::*;

use crate::models::layers::update_values;

/// Cells of a tile: 128 KiB of 256 channels. Products of this size are left to one thread.
const TILE: usize = 128;

/// The cells of an image, in tiles.
pub(super) struct TiledCells {
    /// Positions, `[cells of the tile, dim]` each.
    positions: Vec<Tensor<2>>,
    /// Tiles of every prompt, or of one if the image is the same for all.
    prompts: Vec<Vec<Tensor<2>>>,
}

/// What cells see of the tokens, and how that changes them. Columns are ordered by token, then by head.
pub(super) struct CellUpdate<'a> {
    /// Keys of the tokens, brought to the channels of cells: `[batch, dim, tokens * heads]`.
    pub keys: Tensor<3>,
    /// What is added to the scores, `[batch, tokens * heads, 1]`; none if the attention has no bias.
    pub offsets: Option<Tensor<3>>,
    /// Values of the tokens, brought to the channels of cells: `[batch, tokens * heads, dim]`.
    pub values: Tensor<3>,
    /// Number of heads.
    pub heads: usize,
    /// Factor of scores.
    pub scale: f32,
    /// Normalisation of what comes out.
    pub norm: &'a LayerNorm,
}

/// Tokens that look at the updated cells.
pub(super) struct CellLook {
    /// Their queries, brought to the channels of cells, by heads: `[batch, heads * tokens, dim]`.
    pub queries: Tensor<3>,
    /// Factor of scores.
    pub scale: f32,
}

impl TiledCells {
    /// Splits cells and their positions into tiles.
    ///
    /// # Shapes
    /// - cells: `[batch or 1, cells, dim]`
    /// - position: `[1, cells, dim]`
    pub fn new(cells: &Tensor<3>, position: &Tensor<3>) -> Self {
        let [batch, count, dim] = cells.dims();
        debug_assert_eq!(position.dims(), [1, count, dim]);
        Self {
            positions: tiles(position, 0),
            prompts: (0..batch).map(|at| tiles(cells, at)).collect(),
        }
    }

    /// Updates the cells of every prompt; also returns the mixtures of the updated cells that the tokens of `look` see.
    ///
    /// # Shapes
    /// - mixtures: `[batch, heads * tokens, dim]`
    pub fn pass(&self, update: &CellUpdate<'_>, look: &CellLook) -> (Self, Tensor<3>) {
        let [batch, queries, dim] = look.queries.dims();
        let device = look.queries.device();
        let is_shared = self.prompts.len() == 1;
        debug_assert!(is_shared || self.prompts.len() == batch);
        let of_prompt = |prompt: usize| {
            let tokens = PromptTokens::new(update, look, prompt);
            let cells = self.prompts.get(if is_shared { 0 } else { prompt });
            let cells = cells.map(Vec::as_slice).unwrap_or_default();
            let tiles = cells.par_iter().zip(&self.positions);
            let passed: Vec<(Tensor<2>, Seen)> = tiles
                .map(|(cells, position)| tokens.pass(cells, position, update, look))
                .collect();
            let (cells, seen): (Vec<_>, Vec<_>) = passed.into_iter().unzip();
            let mixed = TensorData::new(mixture(&seen, queries, dim), [1, queries, dim]);
            (cells, Tensor::<3>::from_data(mixed, &device))
        };
        let passed: Vec<_> = (0..batch).into_par_iter().map(of_prompt).collect();
        let (prompts, mixed): (Vec<_>, Vec<_>) = passed.into_iter().unzip();
        let updated = Self {
            positions: self.positions.clone(),
            prompts,
        };
        let mixed = match batch {
            0 => Tensor::zeros([0, queries, dim], &device),
            _ => Tensor::cat(mixed, 0),
        };
        (updated, mixed)
    }

    /// Joins the tiles of `batch` prompts.
    ///
    /// # Shapes
    /// - output: `[batch, cells, dim]`
    pub fn into_tensor(self, [batch, cells, dim]: [usize; 3], device: &Device) -> Tensor<3> {
        let tiles: Vec<Tensor<2>> = self.prompts.into_iter().flatten().collect();
        match batch * cells {
            0 => Tensor::zeros([batch, cells, dim], device),
            _ => Tensor::cat(tiles, 0).reshape([batch, cells, dim]),
        }
    }
}

/// The tiles of one row of a batch.
fn tiles(cells: &Tensor<3>, row: usize) -> Vec<Tensor<2>> {
    let [_, count, _] = cells.dims();
    let row = cells.clone().narrow(0, row, 1).squeeze_dim::<2>(0);
    let starts = (0..count).step_by(TILE);
    starts
        .map(|start| row.clone().narrow(0, start, TILE.min(count - start)))
        .collect()
}

/// The tokens of one prompt.
struct PromptTokens {
    keys: Tensor<2>,
    offsets: Vec<f32>,
    values: Tensor<2>,
    queries: Tensor<2>,
}

impl PromptTokens {
    fn new(update: &CellUpdate<'_>, look: &CellLook, prompt: usize) -> Self {
        let own = |tensor: &Tensor<3>| tensor.clone().narrow(0, prompt, 1).squeeze_dim::<2>(0);
        let keys = own(&update.keys);
        let [_, columns] = keys.dims();
        let offsets = update.offsets.as_ref().map(|it| own(it).into_data());
        Self {
            keys,
            offsets: offsets.map_or(vec![0.0; columns], |it| it.iter::<f32>().collect()),
            values: own(&update.values),
            queries: own(&look.queries),
        }
    }

    /// Updates the cells of a tile, and looks at them.
    ///
    /// # Shapes
    /// - cells, position and updated cells: `[cells of the tile, dim]`
    fn pass(
        &self,
        cells: &Tensor<2>,
        position: &Tensor<2>,
        update: &CellUpdate<'_>,
        look: &CellLook,
    ) -> (Tensor<2>, Seen) {
        let device = cells.device();
        let scores = (cells.clone() + position.clone()).matmul(self.keys.clone());
        let weights = update_values(scores.into_data(), |scores| {
            softmax_over_tokens(scores, &self.offsets, update.heads, update.scale);
        });
        let seen = Tensor::<2>::from_data(weights, &device).matmul(self.values.clone());
        let cells = update.norm.forward(seen + cells.clone());

        let placed = cells.clone() + position.clone();
        let scores = placed.matmul(self.queries.clone().transpose());
        let [_, columns] = scores.dims();
        let mut sums = None;
        let weights = update_values(scores.into_data(), |scores| {
            sums = Some(exp_of_columns(scores, columns, look.scale));
        });
        let mixed = Tensor::<2>::from_data(weights, &device)
            .transpose()
            .matmul(cells.clone());
        let seen = Seen {
            sums,
            mixed: mixed.into_data(),
        };
        (cells, seen)
    }
}

/// What tokens see of the cells of a tile, before softmax divides by the sum over all tiles.
struct Seen {
    sums: Option<ColumnSums>,
    /// `[heads * tokens, dim]`
    mixed: TensorData,
}

/// What tokens see of all tiles, `[heads * tokens, dim]`.
fn mixture(seen: &[Seen], queries: usize, dim: usize) -> Vec<f32> {
    let sums = || seen.iter().filter_map(|part| part.sums.as_ref());
    let mut highest = vec![f32::NEG_INFINITY; queries];
    for part in sums() {
        for (high, other) in highest.iter_mut().zip(&part.highest) {
            *high = high.max(*other);
        }
    }
    // What the exponentials of a tile have to be multiplied with.
    let factors = |part: &ColumnSums| -> Vec<f32> {
        let pairs = part.highest.iter().zip(&highest);
        let factor = |(own, all): (&f32, &f32)| if own == all { 1.0 } else { (own - all).exp() };
        pairs.map(factor).collect()
    };
    let mut totals = vec![0.0; queries];
    for part in sums() {
        for ((total, sum), factor) in totals.iter_mut().zip(&part.sums).zip(factors(part)) {
            *total += sum * factor;
        }
    }
    let mut mixed = vec![0.0; queries * dim];
    for part in seen {
        let (Some(sums), Ok(values)) = (&part.sums, part.mixed.as_slice::<f32>()) else {
            continue;
        };
        let rows = mixed.chunks_exact_mut(dim).zip(values.chunks_exact(dim));
        for ((row, values), (factor, total)) in rows.zip(factors(sums).iter().zip(&totals)) {
            let factor = factor / total;
            for (mixed, value) in row.iter_mut().zip(values) {
                *mixed += value * factor;
            }
        }
    }
    mixed
}
