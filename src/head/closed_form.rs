//! Linear heads over labelled masks, without a step of training: nearest class means, and least squares.
//!
//! They are made for few masks: 1 to some hundreds. Every class, and the background if masks are labelled as that, counts
//! alike, however many masks it has.

use nalgebra::{Cholesky, DMatrix, DVector, SymmetricEigen};

use super::bags::Bags;
use super::batches::read_masks;
use super::loss::Loss;
use super::mask_labels::MaskClass;
use super::mil::softmax;
use super::spec::HeadSpec;
use super::weights::HeadWeights;
use crate::error::HeadError;
use crate::{Error, Result};

/// Bias of an output without a labelled mask, whose probability is then 0.
pub(super) const NEVER: f32 = -1e4;
/// Masks by which the ridge and the temperature are chosen; more take longer and choose no better.
const CHOOSING: usize = 512;
/// Ridges that are tried, as multiples of the mean square of the masks' numbers.
const RIDGES: [f64; 9] = [1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0];
/// Masks from which on leaving one out tells which ridge and which factor are best. With fewer, it errs far, and these are
/// best (docs/train.md).
const ENOUGH: usize = 30;
const RIDGE: f64 = 3.0;
const FACTOR: f64 = 8.0;
/// The same for prototypes, whose logits are this times minus the squared distance.
const PROTOTYPE_FACTOR: f64 = 6.0;
/// Factors of the logits that are tried: 1 / temperature.
const FACTORS: [f64; 13] = [
    0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0,
];

/// Labelled masks: their numbers, their outputs and their weights.
struct Examples {
    /// `[masks, numbers]`.
    numbers: DMatrix<f64>,
    /// Output of each mask.
    outputs: Vec<usize>,
    /// Weight of each mask, 1 on average; those of each output that has masks sum up to the same.
    weights: Vec<f64>,
    /// Number of outputs, with masks or without.
    count: usize,
}

/// A layer: `[numbers, outputs]` and a bias an output.
struct Layer {
    weights: DMatrix<f64>,
    bias: DVector<f64>,
}

/// Fits a head to the labelled masks of some bags. Masks of which only is known what they do not show are left out.
///
/// # Errors
/// [`HeadError::OneKindOfMask`] if all masks have one output; [`Error::File`] if embeddings kept in a file cannot be read.
pub(super) fn closed_form(
    bags: &Bags,
    spec: &HeadSpec,
    loss: Loss,
    seed: u64,
) -> Result<HeadWeights> {
    let examples = Examples::of(bags, spec)?;
    let present = examples.present();
    if present.len() < 2 {
        return Err(Error::Head(HeadError::OneKindOfMask));
    }
    let chosen = examples.some(CHOOSING, seed);
    let mut layer = if loss == Loss::Prototypes {
        let factor = chosen.prototype_factor();
        examples.prototypes().times(factor)
    } else {
        let (ridge, factor) = chosen.ridge_and_factor();
        examples.least_squares(ridge)?.times(factor)
    };
    for output in (0..spec.outputs()).filter(|it| !present.contains(it)) {
        layer.weights.column_mut(output).fill(0.0);
        if let Some(bias) = layer.bias.get_mut(output) {
            *bias = f64::from(NEVER);
        }
    }
    // nalgebra keeps columns one after the other, and a layer's weights are row-major.
    let weights = layer.weights.transpose();
    let weights = weights.as_slice().iter().map(|x| *x as f32).collect();
    let bias = layer.bias.iter().map(|x| *x as f32).collect();
    let weights = HeadWeights::of_layer(weights, bias, [spec.embedding_dim, spec.outputs()]);
    Ok(weights.with_standards(&bags.normaliser))
}

impl Examples {
    fn of(bags: &Bags, spec: &HeadSpec) -> Result<Self> {
        let classes = spec.classes.len();
        let known = bags.labelled.iter().filter_map(|mask| match mask.class {
            MaskClass::Shows(class) => Some((mask.row, class)),
            MaskClass::Background => Some((mask.row, classes)),
            MaskClass::ShowsNot(_) => None,
        });
        let (rows, outputs): (Vec<u32>, Vec<usize>) = known.unzip();
        let numbers = read_masks(bags, &rows)?;
        let numbers = numbers.iter().map(|x| f64::from(*x));
        Ok(Self::new(
            DMatrix::from_row_iterator(rows.len(), spec.embedding_dim, numbers),
            outputs,
            spec.outputs(),
        ))
    }

    fn new(numbers: DMatrix<f64>, outputs: Vec<usize>, count: usize) -> Self {
        let mut masks = vec![0usize; count];
        for output in &outputs {
            if let Some(of_output) = masks.get_mut(*output) {
                *of_output += 1;
            }
        }
        let present = masks.iter().filter(|masks| **masks > 0).count().max(1);
        let share = outputs.len() as f64 / present as f64;
        let weight = |output: &usize| share / masks.get(*output).map_or(1.0, |it| *it as f64);
        Self {
            weights: outputs.iter().map(weight).collect(),
            numbers,
            outputs,
            count,
        }
    }

    /// Outputs with a mask, ascending.
    fn present(&self) -> Vec<usize> {
        let has = |output: &usize| self.outputs.contains(output);
        (0..self.count).filter(has).collect()
    }

    /// At most so many of the masks, in random order.
    fn some(&self, count: usize, seed: u64) -> Self {
        let mut order: Vec<usize> = (0..self.outputs.len()).collect();
        fastrand::Rng::with_seed(seed).shuffle(&mut order);
        order.truncate(count);
        let outputs = order.iter().filter_map(|at| self.outputs.get(*at).copied());
        Self::new(
            self.numbers.select_rows(&order),
            outputs.collect(),
            self.count,
        )
    }

    /// Weighted mean of the masks' numbers.
    fn mean(&self) -> DVector<f64> {
        let weights = DVector::from_column_slice(&self.weights);
        self.numbers.tr_mul(&weights) / weights.sum().max(f64::MIN_POSITIVE)
    }

    /// Sum of the numbers of each output's masks, `[numbers, outputs]`, and their count.
    fn sums(&self) -> (DMatrix<f64>, Vec<f64>) {
        let mut sums = DMatrix::zeros(self.numbers.ncols(), self.count);
        let mut counts = vec![0.0; self.count];
        for (row, output) in self.numbers.row_iter().zip(&self.outputs) {
            let mut column = sums.column_mut(*output);
            column += row.transpose();
            if let Some(count) = counts.get_mut(*output) {
                *count += 1.0;
            }
        }
        (sums, counts)
    }

    /// Minus the squared distance from each output's mean, without what is the same for all outputs (Snell et al.,
    /// Prototypical Networks for Few-shot Learning, NeurIPS 2017, equation 8).
    fn prototypes(&self) -> Layer {
        let (mut means, counts) = self.sums();
        for (mut mean, count) in means.column_iter_mut().zip(counts) {
            mean /= f64::max(count, 1.0);
        }
        let bias = means.column_iter().map(|mean| -mean.norm_squared());
        Layer {
            bias: DVector::from_iterator(self.count, bias),
            weights: means * 2.0,
        }
    }

    /// The factor of the prototypes' logits with the least cross entropy, each mask being left out of its own mean. A mask
    /// that is the only one of its output says nothing of it.
    fn prototype_factor(&self) -> f64 {
        if self.outputs.len() < ENOUGH {
            return PROTOTYPE_FACTOR;
        }
        let (sums, counts) = self.sums();
        let mut scores = Vec::with_capacity(self.outputs.len());
        for (row, own) in self.numbers.row_iter().zip(&self.outputs) {
            let x = row.transpose();
            let outputs = sums.column_iter().zip(&counts).enumerate();
            let of_mask = outputs.map(|(output, (sum, count))| {
                let (sum, count) = if output == *own {
                    (sum - &x, count - 1.0)
                } else {
                    (sum.into_owned(), *count)
                };
                (count > 0.0).then(|| -(&x - sum / count).norm_squared())
            });
            scores.push(of_mask.collect::<Vec<Option<f64>>>());
        }
        self.best_factor(&scores)
    }

    /// The factor with the least weighted cross entropy.
    fn best_factor(&self, scores: &[Vec<Option<f64>>]) -> f64 {
        let entropy = |factor: f64| -> f64 {
            let masks = scores.iter().zip(&self.outputs).zip(&self.weights);
            let losses = masks.filter_map(|((scores, output), weight)| {
                scores.get(*output).copied().flatten()?;
                let logits = scores
                    .iter()
                    .map(|it| it.map_or(f64::from(NEVER), |it| it * factor));
                let p = softmax(logits.collect(), false).get(*output).copied()?;
                Some(-weight * p.max(1e-12).ln())
            });
            losses.sum()
        };
        let tried = FACTORS.iter().map(|factor| (*factor, entropy(*factor)));
        let best = tried.min_by(|a, b| a.1.total_cmp(&b.1));
        best.map_or(1.0, |(factor, _)| factor)
    }

    /// The masks' numbers less their mean, and 1 for the masks' outputs less the outputs' shares, each row multiplied by
    /// the root of its mask's weight.
    fn weighted(&self) -> (DMatrix<f64>, DMatrix<f64>) {
        let mean = self.mean();
        let shares = self.shares();
        let mut numbers = self.numbers.clone();
        let mut targets = DMatrix::zeros(self.outputs.len(), self.count);
        for (at, (output, weight)) in self.outputs.iter().zip(&self.weights).enumerate() {
            let root = weight.sqrt();
            let mut row = numbers.row_mut(at);
            row -= mean.transpose();
            row *= root;
            let mut target = targets.row_mut(at);
            target -= shares.transpose();
            if let Some(own) = target.get_mut(*output) {
                *own += 1.0;
            }
            target *= root;
        }
        (numbers, targets)
    }

    /// Share of each output in the weights.
    fn shares(&self) -> DVector<f64> {
        let present = self.present();
        let mut shares = DVector::zeros(self.count);
        for output in &present {
            if let Some(share) = shares.get_mut(*output) {
                *share = 1.0 / present.len() as f64;
            }
        }
        shares
    }

    /// The ridge with the least squared error of masks that are left out one by one, and then the factor with their least
    /// cross entropy. Both come from one decomposition: with the numbers' products `K = U S Uᵀ`, predictions are `H Y` with
    /// `H = U S / (S + ridge) Uᵀ`, and leaving a mask out divides its residual by `1 - H_ii`.
    fn ridge_and_factor(&self) -> (f64, f64) {
        if self.outputs.len() < ENOUGH {
            return (RIDGE, FACTOR);
        }
        let (numbers, targets) = self.weighted();
        let masks = self.outputs.len() as f64;
        let eigen = SymmetricEigen::new(&numbers * numbers.transpose());
        let scale = eigen.eigenvalues.sum() / masks;
        let turned = eigen.eigenvectors.tr_mul(&targets);
        let mut best = (f64::INFINITY, RIDGES[0], 1.0);
        for ridge in RIDGES {
            let kept = eigen
                .eigenvalues
                .map(|value| value.max(0.0) / (value.max(0.0) + ridge * scale + 1e-12));
            let predicted = &eigen.eigenvectors * DMatrix::from_diagonal(&kept) * &turned;
            let mut left_out = predicted.clone();
            let mut error = 0.0;
            for at in 0..self.outputs.len() {
                let vectors = eigen.eigenvectors.row(at);
                let leverage: f64 = vectors
                    .iter()
                    .zip(kept.iter())
                    .map(|(u, k)| u * u * k)
                    .sum();
                let residual = (targets.row(at) - predicted.row(at)) / (1.0 - leverage).max(1e-3);
                error += residual.norm_squared();
                left_out.set_row(at, &(targets.row(at) - residual));
            }
            if error < best.0 {
                best = (error, ridge, self.factor_of(left_out));
            }
        }
        (best.1, best.2)
    }

    /// The factor for predictions of the weighted masks.
    fn factor_of(&self, predicted: DMatrix<f64>) -> f64 {
        let present = self.present();
        let scores: Vec<Vec<Option<f64>>> = predicted
            .row_iter()
            .zip(&self.weights)
            .map(|(row, weight)| {
                let outputs = row.iter().enumerate();
                let of_output =
                    outputs.map(|(at, x)| present.contains(&at).then(|| x / weight.sqrt()));
                of_output.collect()
            })
            .collect();
        self.best_factor(&scores)
    }

    /// Least squares with a ridge, as a multiple of the mean square of the numbers: whichever is smaller is solved, the
    /// equations of the numbers or those of the masks.
    fn least_squares(&self, ridge: f64) -> Result<Layer> {
        let (numbers, targets) = self.weighted();
        let (masks, width) = numbers.shape();
        let scale = numbers.norm_squared() / masks as f64;
        let ridge = ridge * scale + 1e-12;
        let solve = |mut products: DMatrix<f64>, right: &DMatrix<f64>| {
            for at in 0..products.nrows() {
                if let Some(diagonal) = products.get_mut((at, at)) {
                    *diagonal += ridge;
                }
            }
            let solved = Cholesky::new(products).map(|cholesky| cholesky.solve(right));
            solved.ok_or(Error::Head(HeadError::Diverged { what: "weights" }))
        };
        let weights = if masks < width {
            let solved = solve(&numbers * numbers.transpose(), &targets)?;
            numbers.tr_mul(&solved)
        } else {
            solve(numbers.tr_mul(&numbers), &numbers.tr_mul(&targets))?
        };
        let bias = self.shares() - weights.tr_mul(&self.mean());
        Ok(Layer { weights, bias })
    }
}

impl Layer {
    fn times(self, factor: f64) -> Self {
        Self {
            weights: self.weights * factor,
            bias: self.bias * factor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three clouds in four dimensions; the third output has no mask, the last has twenty times as many.
    fn clouds() -> Examples {
        let mut random = fastrand::Rng::with_seed(3);
        let (mut numbers, mut outputs) = (Vec::new(), Vec::new());
        for at in 0..66 {
            let output = [0, 1, 3][if at < 3 {
                0
            } else if at < 6 {
                1
            } else {
                2
            }];
            for axis in 0..4 {
                let center = if axis == output { 2.0 } else { 0.0 };
                numbers.push(center + random.f64() - 0.5);
            }
            outputs.push(output);
        }
        Examples::new(DMatrix::from_row_slice(66, 4, &numbers), outputs, 4)
    }

    fn called(layer: &Layer, examples: &Examples) -> Vec<usize> {
        let logits = &examples.numbers * &layer.weights;
        let rows = logits.row_iter();
        rows.map(|row| (row.transpose() + &layer.bias).argmax().0)
            .collect()
    }

    #[test]
    fn every_output_weighs_alike() {
        let examples = clouds();
        assert_eq!(examples.present(), [0, 1, 3]);
        for output in [0, 1, 3] {
            let weights = examples.outputs.iter().zip(&examples.weights);
            let sum: f64 = weights
                .filter(|(own, _)| **own == output)
                .map(|it| it.1)
                .sum();
            assert!((sum - 22.0).abs() < 1e-9);
        }
    }

    #[test]
    fn clouds_are_told_apart() {
        let examples = clouds();
        let mut prototypes = examples.prototypes();
        prototypes.bias[2] = f64::from(NEVER);
        assert_eq!(called(&prototypes, &examples), examples.outputs);
        let (ridge, factor) = examples.ridge_and_factor();
        let layer = examples.least_squares(ridge).unwrap();
        assert_eq!(called(&layer, &examples), examples.outputs);
        assert!(factor > 1.0 && examples.prototype_factor() > 0.0);
    }

    #[test]
    fn both_ways_of_least_squares_give_the_same() {
        let examples = clouds();
        let wide = |extra: usize| {
            let rows = examples.numbers.nrows();
            let mut numbers = DMatrix::zeros(rows, 4 + extra);
            numbers.columns_mut(0, 4).copy_from(&examples.numbers);
            Examples::new(numbers, examples.outputs.clone(), 4)
        };
        let (narrow, wide) = (wide(0), wide(100));
        let narrow = narrow.least_squares(0.1).unwrap();
        let wide = wide.least_squares(0.1).unwrap();
        let off = (wide.weights.rows(0, 4) - &narrow.weights).norm();
        assert!(
            off < 1e-9 && wide.weights.rows(4, 100).norm() < 1e-9,
            "{off}"
        );
        assert!((wide.bias - narrow.bias).norm() < 1e-9);
    }

    #[test]
    fn leaving_out_is_what_fitting_without_gives() {
        // With equal weights and a fixed mean, the short cut is exact.
        let numbers = DMatrix::from_row_slice(4, 2, &[1.0, 0.2, 0.7, -0.2, -1.0, 0.3, -0.7, -0.3]);
        let examples = Examples::new(numbers, vec![0, 0, 1, 1], 2);
        let (x, y) = examples.weighted();
        let ridge = 0.5;
        let fit = |x: &DMatrix<f64>, y: &DMatrix<f64>| {
            let products = x.tr_mul(x) + DMatrix::identity(2, 2) * ridge;
            Cholesky::new(products).unwrap().solve(&x.tr_mul(y))
        };
        let all = &x * fit(&x, &y);
        let hat = &x * fit(&x, &DMatrix::identity(4, 4));
        for at in 0..4 {
            let without = fit(&x.clone().remove_row(at), &y.clone().remove_row(at));
            let direct = y.row(at) - x.row(at) * without;
            let short = (y.row(at) - all.row(at)) / (1.0 - hat[(at, at)]);
            assert!((direct - short).norm() < 1e-9);
        }
    }
}
