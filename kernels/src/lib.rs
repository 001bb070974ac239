//! Loops over plain slices for the CPU: what the models of [grainstore](https://docs.rs/grainstore) compute where burn-flex's own
//! operations are slow, because they evaluate `exp` and `erf` one value at a time. Here they are polynomials that the compiler turns
//! into vector code. Also the loops that every mask of a training epoch passes through.
//!
//! This is a crate of its own so that development builds can optimise it and nothing else of grainstore.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

pub use batches::{append_halves, dropout_factors, standardise};

mod batches;

/// Values per task: enough to outweigh the cost of starting it, few enough to stay in the cache.
const CHUNK: usize = 16 * 1024;

/// The exact GELU of each value, `x * (1 + erf(x / sqrt 2)) / 2`, in place.
///
/// # Examples
/// ```
/// let mut values = [-1.0, 0.0, 1.0];
/// grainstore_kernels::gelu(&mut values);
/// assert!((values[2] - 0.841_344_7).abs() < 1e-6);
/// ```
pub fn gelu(values: &mut [f32]) {
    let arch = Arch::new();
    values
        .par_chunks_mut(CHUNK)
        .for_each(|chunk| arch.dispatch(Gelu(chunk)));
}

/// `x * sigmoid(1.702 x)` of each value, an approximation of GELU, in place.
///
/// # Examples
/// ```
/// let mut values = [0.0, 1.0];
/// grainstore_kernels::quick_gelu(&mut values);
/// assert!((values[1] - 0.845_795_8).abs() < 1e-6);
/// ```
pub fn quick_gelu(values: &mut [f32]) {
    let arch = Arch::new();
    values
        .par_chunks_mut(CHUNK)
        .for_each(|chunk| arch.dispatch(QuickGelu(chunk)));
}

#[inline(always)]
fn quick_gelu_value(x: f32) -> f32 {
    let z = 1.702 * x;
    let small = exp_of_nonpositive(-z.abs());
    let above = if z >= 0.0 { 1.0 } else { small };
    x * above / (1.0 + small)
}

/// [`gelu_value`] of each value. A struct, because the compiler may call a closure instead of compiling it for the
/// processor's vector instructions.
struct Gelu<'a>(&'a mut [f32]);

impl WithSimd for Gelu<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.0.iter_mut().for_each(|x| *x = gelu_value(*x));
    }
}

/// [`quick_gelu_value`] of each value.
struct QuickGelu<'a>(&'a mut [f32]);

impl WithSimd for QuickGelu<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.0.iter_mut().for_each(|x| *x = quick_gelu_value(*x));
    }
}

#[inline(always)]
fn gelu_value(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// The error function, accurate to a few units in the last place, as a rational function of the clamped argument (the
/// approximation that Eigen and XLA use).
#[inline(always)]
fn erf(x: f32) -> f32 {
    const ABOVE: [f32; 7] = [
        -2.726_142_3e-10,
        2.770_681_4e-8,
        -2.101_024_1e-6,
        -5.692_506_4e-5,
        -7.349_906_3e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    const BELOW: [f32; 5] = [
        -1.456_607_2e-5,
        -2.133_740_6e-4,
        -1.682_827e-3,
        -7.373_329e-3,
        -1.426_474e-2,
    ];
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let mut above = ABOVE[0];
    for coefficient in &ABOVE[1..] {
        above = above * square + coefficient;
    }
    let mut below = BELOW[0];
    for coefficient in &BELOW[1..] {
        below = below * square + coefficient;
    }
    x * above / below
}

/// `e^x` for x <= 0, accurate to about 2 units in the last place; 0 if the result is below the smallest normal f32.
#[inline(always)]
fn exp_of_nonpositive(x: f32) -> f32 {
    // Adding 1.5 * 2^23 puts the nearest integer into the low bits of the sum.
    const ROUNDER: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let clamped = x.max(-87.0);
    let shifted = clamped * std::f32::consts::LOG2_E + ROUNDER;
    let power = shifted - ROUNDER;
    let rest = clamped - power * LN2_HIGH - power * LN2_LOW;
    let mut series = 1.987_569_2e-4;
    for coefficient in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ] {
        series = series * rest + coefficient;
    }
    let mantissa = series * rest * rest + rest + 1.0;
    let exponent = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    if x < -87.0 { 0.0 } else { mantissa * exponent }
}

/// Terms of relative position for some queries. Each query has one term per row and one per column of the grid of keys.
#[derive(Debug, Clone, Copy)]
pub struct PositionTerms<'a> {
    /// `height` values per query.
    pub rows: &'a [f32],
    /// `width` values per query.
    pub columns: &'a [f32],
    /// Rows and columns of the grid of keys.
    pub grid: [usize; 2],
}

/// Turns rows of raw scores into attention weights in place: scales them, adds relative positions and applies softmax.
///
/// `scores` holds `keys` values per query. With `position`, the keys are its grid in row-major order.
///
/// # Examples
/// ```
/// let mut scores = [0.0, 0.0, 0.0, 1.0e4];
/// grainstore_kernels::softmax_scores(&mut scores, 2, 1.0, None);
/// assert_eq!(scores, [0.5, 0.5, 0.0, 1.0]);
/// ```
pub fn softmax_scores(
    scores: &mut [f32],
    keys: usize,
    scale: f32,
    position: Option<PositionTerms<'_>>,
) {
    if keys == 0 {
        return;
    }
    let arch = Arch::new();
    let queries = (CHUNK / keys).max(1);
    scores
        .par_chunks_mut(queries * keys)
        .enumerate()
        .for_each(|(chunk, scores)| {
            arch.dispatch(SoftmaxRows {
                scores,
                keys,
                scale,
                position,
                first: chunk * queries,
            });
        });
}

/// Attention weights of some queries, from their raw scores.
struct SoftmaxRows<'a> {
    scores: &'a mut [f32],
    keys: usize,
    scale: f32,
    position: Option<PositionTerms<'a>>,
    /// The first of the queries among those of `position`.
    first: usize,
}

impl WithSimd for SoftmaxRows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let rows = self.scores.chunks_exact_mut(self.keys);
        let Some(position) = self.position else {
            rows.for_each(|row| softmax_row(row, self.scale));
            return;
        };
        let [height, width] = position.grid;
        let by_row = position.rows.chunks_exact(height).skip(self.first);
        let by_column = position.columns.chunks_exact(width).skip(self.first);
        for ((row, by_row), by_column) in rows.zip(by_row).zip(by_column) {
            add_position(row, self.scale, by_row, by_column);
            softmax_row(row, 1.0);
        }
    }
}

#[inline(always)]
fn add_position(scores: &mut [f32], scale: f32, by_row: &[f32], by_column: &[f32]) {
    for (line, row_term) in scores.chunks_exact_mut(by_column.len()).zip(by_row) {
        for (score, column_term) in line.iter_mut().zip(by_column) {
            *score = *score * scale + row_term + column_term;
        }
    }
}

#[inline(always)]
fn softmax_row(row: &mut [f32], scale: f32) {
    // Sixteen lanes, because the compiler may not reorder a plain running sum or maximum.
    const LANES: usize = 16;
    let mut highest = [f32::NEG_INFINITY; LANES];
    let (blocks, rest) = row.as_chunks_mut::<LANES>();
    for block in blocks.iter() {
        for (high, x) in highest.iter_mut().zip(block) {
            *high = if *x > *high { *x } else { *high };
        }
    }
    let mut high = f32::NEG_INFINITY;
    for x in highest.iter().chain(rest.iter()) {
        high = high.max(*x);
    }
    let high = high * scale;

    let mut sums = [0f32; LANES];
    for block in blocks.iter_mut() {
        for (sum, x) in sums.iter_mut().zip(block) {
            *x = exp_of_nonpositive(*x * scale - high);
            *sum += *x;
        }
    }
    let mut sum: f32 = sums.iter().sum();
    for x in rest.iter_mut() {
        *x = exp_of_nonpositive(*x * scale - high);
        sum += *x;
    }
    let factor = 1.0 / sum;
    row.iter_mut().for_each(|x| *x *= factor);
}

/// Turns scores of tokens into attention weights in place: softmax over the tokens of each head.
///
/// A row of `scores` has a value for each head of the first token, then of the second, and so on; `offsets` are as long as a
/// row and added to each. Scores are scaled afterwards. The work is not shared between threads.
///
/// # Examples
/// ```
/// // Two tokens, two heads.
/// let mut scores = [1.0, 0.0, 1.0, 500.0];
/// grainstore_kernels::softmax_over_tokens(&mut scores, &[0.0; 4], 2, 1.0);
/// assert_eq!(scores, [0.5, 0.0, 0.5, 1.0]);
/// ```
pub fn softmax_over_tokens(scores: &mut [f32], offsets: &[f32], heads: usize, scale: f32) {
    if offsets.is_empty() || heads == 0 {
        return;
    }
    Arch::new().dispatch(SoftmaxOverTokens {
        scores,
        offsets,
        heads,
        scale,
    });
}

struct SoftmaxOverTokens<'a> {
    scores: &'a mut [f32],
    offsets: &'a [f32],
    heads: usize,
    scale: f32,
}

impl WithSimd for SoftmaxOverTokens<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        // All models have 8; a number that is known makes each step one instruction.
        match self.heads {
            8 => self.each_row(8),
            heads => self.each_row(heads),
        }
    }
}

impl SoftmaxOverTokens<'_> {
    #[inline(always)]
    fn each_row(self, heads: usize) {
        let (mut highest, mut sums) = (vec![0.0; heads], vec![0.0; heads]);
        for row in self.scores.chunks_exact_mut(self.offsets.len()) {
            highest.fill(f32::NEG_INFINITY);
            sums.fill(0.0);
            let offsets = self.offsets.chunks_exact(heads);
            for (token, offsets) in row.chunks_exact_mut(heads).zip(offsets) {
                for ((x, offset), high) in token.iter_mut().zip(offsets).zip(&mut highest) {
                    *x = (*x + offset) * self.scale;
                    *high = if *x > *high { *x } else { *high };
                }
            }
            for token in row.chunks_exact_mut(heads) {
                for ((x, high), sum) in token.iter_mut().zip(&highest).zip(&mut sums) {
                    *x = exp_of_nonpositive(*x - high);
                    *sum += *x;
                }
            }
            for token in row.chunks_exact_mut(heads) {
                for (x, sum) in token.iter_mut().zip(&sums) {
                    *x /= sum;
                }
            }
        }
    }
}

/// What softmax over the rows of a matrix needs besides the exponentials, column by column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnSums {
    /// The highest score, scaled.
    pub highest: Vec<f32>,
    /// The sum of the exponentials.
    pub sums: Vec<f32>,
}

/// Turns a matrix of scores, row by row, into `exp(scale * score - highest)` in place, where `highest` is the highest scaled score
/// of the column: softmax over some of the rows, before its division. The work is not shared between threads.
///
/// # Examples
/// ```
/// let mut scores = [1.0, 0.0, 1.0, 500.0];
/// let found = grainstore_kernels::exp_of_columns(&mut scores, 2, 1.0);
/// assert_eq!(scores, [1.0, 0.0, 1.0, 1.0]);
/// assert_eq!((found.highest, found.sums), (vec![1.0, 500.0], vec![2.0, 1.0]));
/// ```
pub fn exp_of_columns(scores: &mut [f32], columns: usize, scale: f32) -> ColumnSums {
    let mut found = ColumnSums {
        highest: vec![f32::NEG_INFINITY; columns],
        sums: vec![0.0; columns],
    };
    if columns > 0 {
        Arch::new().dispatch(ExpOfColumns {
            scores,
            scale,
            found: &mut found,
        });
    }
    found
}

struct ExpOfColumns<'a> {
    scores: &'a mut [f32],
    scale: f32,
    found: &'a mut ColumnSums,
}

impl WithSimd for ExpOfColumns<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let ColumnSums { highest, sums } = self.found;
        let columns = sums.len();
        for row in self.scores.chunks_exact_mut(columns) {
            for (x, high) in row.iter_mut().zip(highest.iter_mut()) {
                *x *= self.scale;
                *high = if *x > *high { *x } else { *high };
            }
        }
        for row in self.scores.chunks_exact_mut(columns) {
            for ((x, high), sum) in row.iter_mut().zip(highest.iter()).zip(sums.iter_mut()) {
                *x = exp_of_nonpositive(*x - high);
                *sum += *x;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close() {
        for i in 0..20_000 {
            let x = -(i as f32) * 0.004;
            let exact = f64::from(x).exp();
            assert!(
                (f64::from(exp_of_nonpositive(x)) - exact).abs() <= 3e-7 * exact,
                "{x}"
            );
        }
        assert_eq!(exp_of_nonpositive(f32::NEG_INFINITY), 0.0);
    }

    #[test]
    fn quick_gelu_is_its_formula() {
        for i in -40_000..40_000 {
            let x = i as f32 * 5e-4;
            let exact = f64::from(x) / (1.0 + (-1.702 * f64::from(x)).exp());
            let found = f64::from(quick_gelu_value(x));
            assert!(
                (found - exact).abs() <= 1e-6 * exact.abs() + 1e-9,
                "{x}: {found} {exact}"
            );
        }
    }

    #[test]
    fn softmax_of_a_row_sums_to_one() {
        let mut row: Vec<f32> = (0..37).map(|i| ((i * 7919) % 101) as f32 * 0.3).collect();
        let largest = row.iter().cloned().fold(f32::MIN, f32::max);
        let exact: Vec<f64> = row
            .iter()
            .map(|x| (0.5 * f64::from(x - largest)).exp())
            .collect();
        let total: f64 = exact.iter().sum();
        softmax_scores(&mut row, 37, 0.5, None);
        for (found, exact) in row.iter().zip(&exact) {
            assert!((f64::from(*found) - exact / total).abs() < 1e-7);
        }
    }

    #[test]
    fn softmax_over_tokens_is_its_formula() {
        for heads in [3, 8] {
            let (tokens, rows, scale) = (7, 5, 0.25_f32);
            let noise = |i: usize| ((i * 7919) % 101) as f32 * 0.3 - 12.0;
            let offsets: Vec<f32> = (0..tokens * heads).map(|i| noise(i + 77)).collect();
            let scores: Vec<f32> = (0..rows * tokens * heads).map(noise).collect();
            let mut found = scores.clone();
            softmax_over_tokens(&mut found, &offsets, heads, scale);
            for row in 0..rows {
                for head in 0..heads {
                    let at = |token: usize| row * tokens * heads + token * heads + head;
                    let exact = |token: usize| {
                        f64::from((scores[at(token)] + offsets[token * heads + head]) * scale).exp()
                    };
                    let sum: f64 = (0..tokens).map(exact).sum();
                    for token in 0..tokens {
                        let difference = f64::from(found[at(token)]) - exact(token) / sum;
                        assert!(
                            difference.abs() < 2e-7,
                            "{row} {head} {token}: {difference}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn exponentials_of_columns_are_their_formula() {
        let (rows, columns) = (37, 56);
        let scores: Vec<f32> = (0..rows * columns)
            .map(|i| ((i * 7919) % 1009) as f32 * 0.03)
            .collect();
        let mut found = scores.clone();
        let ColumnSums { highest, sums } = exp_of_columns(&mut found, columns, 0.5);
        for column in 0..columns {
            let of_column = (0..rows).map(|row| f64::from(scores[row * columns + column]) * 0.5);
            let high = of_column.clone().fold(f64::MIN, f64::max);
            assert!((f64::from(highest[column]) - high).abs() < 1e-6);
            let mut sum = 0.0;
            for (row, x) in of_column.enumerate() {
                let exact = (x - high).exp();
                sum += exact;
                assert!((f64::from(found[row * columns + column]) - exact).abs() < 2e-6);
            }
            assert!((f64::from(sums[column]) - sum).abs() < 2e-5);
        }
    }
}
