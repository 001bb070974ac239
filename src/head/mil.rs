//! The losses: multiple-instance loss and uncertainty distillation (GranSAM, section 3), with their gradients with
//! respect to the logits.
//!
//! Everything here is pure, and the data is small: the logits of a step are `masks x classes` numbers.

use std::ops::Range;

/// One image of a training step.
#[derive(Debug, Clone, PartialEq)]
pub struct Bag {
    /// Rows of the step's logits that belong to its masks.
    pub masks: Range<usize>,
    /// Indices of the image's classes, ascending; empty if it shows none of them.
    pub classes: Vec<usize>,
    /// Weight of the image in the loss, 1 on average.
    pub weight: f64,
}

/// Logits of a step's masks.
#[derive(Debug, Clone, Copy)]
pub struct Logits<'a> {
    /// `[masks, outputs]`, row-major.
    pub values: &'a [f32],
    /// Number of outputs of the head.
    pub outputs: usize,
    /// Number of outputs that are meant, the first: those of the classes or, with that of the background, all.
    pub classes: usize,
    /// Whether there is a further class, whose logit is always 0.
    pub none_class: bool,
}

/// A loss and its gradient with respect to the logits.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LossGradient {
    /// The loss.
    pub loss: f64,
    /// The gradient, `[masks, outputs]`, row-major.
    pub gradient: Vec<f64>,
    /// For each mask, whether its gradient may differ from 0.
    pub looked_at: Vec<bool>,
}

impl<'a> Logits<'a> {
    /// Those of all outputs, that of the background among them.
    #[must_use]
    pub fn of_all_outputs(self) -> Self {
        Self {
            classes: self.outputs,
            ..self
        }
    }

    fn row(&self, mask: usize) -> &'a [f32] {
        let start = mask * self.outputs;
        self.values.get(start..start + self.classes).unwrap_or(&[])
    }

    /// Number of classes that the softmax covers.
    fn softmax_classes(&self) -> usize {
        self.classes + usize::from(self.none_class)
    }

    /// Number of masks.
    fn masks(&self) -> usize {
        self.values.len() / self.outputs.max(1)
    }

    /// Class probabilities of a mask, with the further class last.
    pub fn probabilities(&self, mask: usize) -> Vec<f64> {
        let mut probabilities = Vec::with_capacity(self.softmax_classes());
        self.probabilities_into(mask, &mut probabilities);
        probabilities
    }

    /// Like [`Self::probabilities`], but overwrites `probabilities`.
    fn probabilities_into(&self, mask: usize, probabilities: &mut Vec<f64>) {
        self.probabilities_without(mask, &[], probabilities);
    }

    /// Like [`Self::probabilities_into`], but some outputs are not compared with; their probabilities are 0.
    fn probabilities_without(&self, mask: usize, left_out: &[usize], probabilities: &mut Vec<f64>) {
        probabilities.clear();
        probabilities.extend(self.row(mask).iter().map(|x| f64::from(*x)));
        if self.none_class {
            probabilities.push(0.0);
        }
        for output in left_out {
            if let Some(logit) = probabilities.get_mut(*output) {
                *logit = f64::NEG_INFINITY;
            }
        }
        softmax_in_place(probabilities);
    }

    /// The scores of a bag, which are for each class the mean of the logits of the `k` masks with the greatest logits in
    /// `picks`, and these masks, class by class. Of equal logits, those of the first masks are taken.
    fn top_k(&self, picks: &Logits<'_>, bag: &Bag, k: usize) -> (Vec<f64>, Vec<Vec<usize>>) {
        let mut scores = Vec::with_capacity(self.classes);
        let mut chosen = Vec::with_capacity(self.classes);
        for class in 0..self.classes {
            let of = |logits: &Logits<'_>, mask: usize| {
                logits.row(mask).get(class).copied().unwrap_or(f32::NAN)
            };
            let logit = |mask: usize| of(picks, mask);
            let mut masks: Vec<usize> = bag.masks.clone().collect();
            let by_logit = |a: &usize, b: &usize| logit(*b).total_cmp(&logit(*a)).then(a.cmp(b));
            if k < masks.len() {
                masks.select_nth_unstable_by(k, by_logit);
                masks.truncate(k);
            }
            let sum: f64 = masks.iter().map(|mask| f64::from(of(self, *mask))).sum();
            scores.push(sum / masks.len().max(1) as f64);
            chosen.push(masks);
        }
        (scores, chosen)
    }
}

/// Softmax of scores, to which a last score of 0 is added if there is a further class.
pub fn softmax(mut scores: Vec<f64>, none_class: bool) -> Vec<f64> {
    if none_class {
        scores.push(0.0);
    }
    softmax_in_place(&mut scores);
    scores
}

fn softmax_in_place(scores: &mut [f64]) {
    let greatest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    for score in &mut *scores {
        *score = (*score - greatest).exp();
    }
    let sum: f64 = scores.iter().sum();
    for score in scores {
        *score /= sum;
    }
}

/// The most probable class; of equally probable classes, the first.
pub(super) fn most_probable(probabilities: impl Iterator<Item = f64>) -> Option<usize> {
    let best = probabilities
        .enumerate()
        .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
    best.map(|(class, _)| class)
}

/// Entropy of probabilities, in nats.
pub fn entropy(probabilities: &[f64]) -> f64 {
    let part = |p: &f64| if *p > 0.0 { -p * p.ln() } else { 0.0 };
    probabilities.iter().map(part).sum()
}

/// The target probabilities of an image: equal shares for its classes, or 1 for the further class if it has none.
fn target(bag: &Bag, logits: &Logits<'_>) -> Vec<f64> {
    let mut target = vec![0.0; logits.softmax_classes()];
    for class in &bag.classes {
        if let Some(share) = target.get_mut(*class) {
            *share = 1.0 / bag.classes.len() as f64;
        }
    }
    if bag.classes.is_empty()
        && logits.none_class
        && let Some(share) = target.last_mut()
    {
        *share = 1.0;
    }
    target
}

/// The predicted probabilities of an image, and their loss.
#[derive(Debug, Clone, PartialEq)]
pub struct BagScore {
    /// Softmax over the classes' scores, with the further class last.
    pub probabilities: Vec<f64>,
    /// Cross entropy with the image's labels.
    pub loss: f64,
    /// Whether the most probable class is one of the image's classes.
    pub correct: bool,
}

/// Scores one bag: the score of each class is the mean of its `k` greatest logits.
pub fn score_bag(logits: &Logits<'_>, bag: &Bag, k: usize) -> BagScore {
    let scores = logits.top_k(logits, bag, k).0;
    score_against(&target(bag, logits), scores, logits.none_class)
}

fn score_against(target: &[f64], scores: Vec<f64>, none_class: bool) -> BagScore {
    let probabilities = softmax(scores, none_class);
    let loss = target.iter().zip(&probabilities);
    let loss = loss
        .filter(|(share, _)| **share > 0.0)
        .map(|(share, p)| -share * p.max(f64::MIN_POSITIVE).ln())
        .sum();
    let best = most_probable(probabilities.iter().copied());
    let correct = best.is_some_and(|class| target.get(class).is_some_and(|share| *share > 0.0));
    BagScore {
        probabilities,
        loss,
        correct,
    }
}

/// The multiple-instance loss: the mean over images of the cross entropy of its bag's scores times the image's weight.
///
/// `k` maps the number of masks in a bag to the number of masks whose mean logit is a class's score.
pub fn mil_loss(logits: &Logits<'_>, bags: &[Bag], k: impl Fn(usize) -> usize) -> LossGradient {
    mil_loss_picked(logits, logits, bags, k)
}

/// Like [`mil_loss`], but the masks whose mean logit is a class's score are those with the greatest logits in `picks`.
/// Images that say nothing of a class are left out.
pub(super) fn mil_loss_picked(
    logits: &Logits<'_>,
    picks: &Logits<'_>,
    bags: &[Bag],
    k: impl Fn(usize) -> usize,
) -> LossGradient {
    let mut found = LossGradient::none_yet(logits);
    let says = |bag: &&Bag| logits.none_class || !bag.classes.is_empty();
    let images = bags.iter().filter(says).count().max(1) as f64;
    for bag in bags.iter().filter(says) {
        let (scores, chosen) = logits.top_k(picks, bag, k(bag.masks.len()));
        let target = target(bag, logits);
        let score = score_against(&target, scores, logits.none_class);
        found.loss += bag.weight * score.loss / images;
        for (class, masks) in chosen.iter().enumerate() {
            let off = score.probabilities.get(class).zip(target.get(class));
            let off = off.map_or(0.0, |(p, share)| p - share);
            let gradient = bag.weight * off / images / masks.len().max(1) as f64;
            for mask in masks {
                if let Some(row) = found.row_mut(*mask, logits.outputs)
                    && let Some(value) = row.get_mut(class)
                {
                    *value += gradient;
                }
            }
        }
    }
    found
}

/// Whether a mask is uncertain or rejected by the teacher: its prediction is uncertain, or the most probable class is
/// not one of `classes`, those that the image is labelled with.
///
/// `threshold` is the entropy, in nats, above which a prediction is uncertain.
pub fn is_bad_mask(probabilities: &[f64], classes: &[usize], threshold: f64) -> bool {
    let entropy = entropy(probabilities);
    let best = most_probable(probabilities.iter().copied());
    entropy > threshold || best.is_none_or(|class| !classes.contains(&class))
}

/// The uncertainty loss: the mean over the uncertain and rejected masks of the negated sum of their log-probabilities,
/// which is minimal where all classes are equally probable.
///
/// The paper's equation (4) has 1 / N for N images and leaves out which masks of an image it sums; here it is the mean over all such
/// masks of the step (docs/reproduce.md).
pub fn uncertainty_loss(logits: &Logits<'_>, bad: &[usize]) -> LossGradient {
    let mut found = LossGradient::none_yet(logits);
    let (count, classes) = (bad.len().max(1) as f64, logits.softmax_classes() as f64);
    let mut probabilities = Vec::with_capacity(logits.softmax_classes());
    for mask in bad {
        logits.probabilities_into(*mask, &mut probabilities);
        let logs = probabilities.iter().map(|p| p.max(f64::MIN_POSITIVE).ln());
        found.loss -= logs.sum::<f64>() / count;
        let row = found.row_mut(*mask, logits.outputs).into_iter().flatten();
        for (value, p) in row.zip(&probabilities) {
            *value = (classes * p - 1.0) / count;
        }
    }
    found
}

/// What is known of a mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownOutput {
    /// Its output.
    Is(usize),
    /// Outputs that are not its own, ascending.
    IsNot(Vec<usize>),
}

/// A mask of which something is known.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownMask {
    /// What is known.
    pub output: KnownOutput,
    /// Its weight in the loss.
    pub weight: f64,
}

/// The loss of masks of which something is known, one per row of the logits from `first` on: the mean, weighted by their
/// weights, of -log p of their outputs, or of -log (1 - p) where p is the probability of outputs that are not theirs. Outputs
/// that are `left_out` are not compared with.
pub fn known_loss(
    logits: &Logits<'_>,
    first: usize,
    known: &[KnownMask],
    left_out: &[usize],
) -> LossGradient {
    let mut found = LossGradient::none_yet(logits);
    let total: f64 = known.iter().map(|it| it.weight).sum();
    let mut probabilities = Vec::with_capacity(logits.softmax_classes());
    for (mask, it) in (first..).zip(known) {
        logits.probabilities_without(mask, left_out, &mut probabilities);
        let weight = it.weight / total.max(f64::MIN_POSITIVE);
        found.add_known(mask, &it.output, &probabilities, logits.outputs, weight);
    }
    found
}

impl LossGradient {
    /// A loss of 0 that depends on no mask.
    fn none_yet(logits: &Logits<'_>) -> Self {
        Self {
            loss: 0.0,
            gradient: vec![0.0; logits.values.len()],
            looked_at: vec![false; logits.masks()],
        }
    }

    /// Adds the loss of a mask, times a weight; `probabilities` are the mask's.
    fn add_known(
        &mut self,
        mask: usize,
        known: &KnownOutput,
        probabilities: &[f64],
        outputs: usize,
        weight: f64,
    ) {
        let row = self.row_mut(mask, outputs).into_iter().flatten();
        let p_of = |at: usize| probabilities.get(at).copied().unwrap_or(0.0);
        let right = match known {
            KnownOutput::Is(output) => {
                for (at, (value, p)) in row.zip(probabilities).enumerate() {
                    *value += weight * (p - f64::from(u8::from(at == *output)));
                }
                p_of(*output)
            }
            KnownOutput::IsNot(outputs) => {
                let wrong: f64 = outputs.iter().map(|at| p_of(*at)).sum();
                let rest = (1.0 - wrong).max(1e-12);
                for (at, (value, p)) in row.zip(probabilities).enumerate() {
                    let is_wrong = f64::from(u8::from(outputs.contains(&at)));
                    *value += weight * p * (is_wrong - wrong) / rest;
                }
                rest
            }
        };
        self.loss -= weight * right.max(f64::MIN_POSITIVE).ln();
    }

    /// The gradient of a mask, which is marked as looked at.
    fn row_mut(&mut self, mask: usize, outputs: usize) -> Option<&mut [f64]> {
        *self.looked_at.get_mut(mask)? = true;
        self.gradient.get_mut(mask * outputs..(mask + 1) * outputs)
    }

    /// The sum of two losses over the same masks, each multiplied by its weight.
    #[must_use]
    pub fn plus(mut self, weight: f64, other: &Self, other_weight: f64) -> Self {
        self.loss = weight * self.loss + other_weight * other.loss;
        for (own, other) in self.gradient.iter_mut().zip(&other.gradient) {
            *own = weight * *own + other_weight * other;
        }
        for (own, other) in self.looked_at.iter_mut().zip(&other.looked_at) {
            *own |= other;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bag(masks: Range<usize>, classes: &[usize]) -> Bag {
        Bag {
            masks,
            classes: classes.to_vec(),
            weight: 1.0,
        }
    }

    #[test]
    fn one_image_by_hand() {
        // Class 0 scores (3 + 1) / 2 = 2, class 1 scores (4 + 0) / 2 = 2: both 1/2.
        let values = [3.0, 0.0, 1.0, -5.0, -1.0, 4.0];
        let logits = Logits {
            values: &values,
            outputs: 2,
            classes: 2,
            none_class: false,
        };
        let found = mil_loss(&logits, &[bag(0..3, &[0])], |_| 2);
        assert!((found.loss - 2f64.ln()).abs() < 1e-12);
        assert_eq!(found.gradient, [-0.25, 0.25, -0.25, 0.0, 0.0, 0.25]);
        let best = mil_loss(&logits, &[bag(0..3, &[0])], |_| 1);
        assert_eq!(best.looked_at, [true, false, true]);
        // If the image had both labels, it could not score better.
        let both = mil_loss(&logits, &[bag(0..3, &[0, 1])], |_| 2);
        assert!(both.gradient.iter().all(|g| *g == 0.0));
    }

    #[test]
    fn masks_are_picked_by_other_logits() {
        let (values, clean) = ([1.0, 2.0, 5.0, 0.0], [3.0, 0.0, 1.0, 4.0]);
        let of = |values| Logits {
            values,
            outputs: 2,
            classes: 2,
            none_class: false,
        };
        let bags = [bag(0..2, &[0]), bag(0..2, &[])];
        let found = mil_loss_picked(&of(&values), &of(&clean), &bags, |_| 1);
        // Mask 0 for class 0, mask 1 for class 1: scores 1 and 0. The image without a class says nothing.
        let p = 1.0 / (1.0 + (-1f64).exp());
        assert!((found.loss + p.ln()).abs() < 1e-12);
        let expected = [p - 1.0, 0.0, 0.0, 1.0 - p];
        for (ours, expected) in found.gradient.iter().zip(expected) {
            assert!((ours - expected).abs() < 1e-12, "{:?}", found.gradient);
        }
    }

    #[test]
    fn known_masks_by_hand() {
        let logits = Logits {
            values: &[0.0, 0.0, 1.0, 0.0],
            outputs: 2,
            classes: 2,
            none_class: false,
        };
        let known = [(0, 1.0), (1, 3.0)].map(|(class, weight)| KnownMask {
            output: KnownOutput::Is(class),
            weight,
        });
        let found = known_loss(&logits, 0, &known, &[]);
        let p = 1.0 / (1.0 + (-1f64).exp());
        assert!((found.loss - 0.25 * 2f64.ln() + 0.75 * (1.0 - p).ln()).abs() < 1e-12);
        let expected = [-0.125, 0.125, 0.75 * p, -0.75 * p];
        for (ours, expected) in found.gradient.iter().zip(expected) {
            assert!((ours - expected).abs() < 1e-12, "{:?}", found.gradient);
        }
    }

    #[test]
    fn gradients_of_known_masks_are_those_of_differences() {
        let values = [0.3, -1.2, 0.8, 2.0, 0.1, -0.4, -0.7, 1.5, 0.2];
        let known = [
            (KnownOutput::IsNot(vec![0, 2]), 1.0),
            (KnownOutput::Is(1), 2.0),
        ];
        let known = known.map(|(output, weight)| KnownMask { output, weight });
        let loss = |values: &[f32]| {
            let logits = Logits {
                values,
                outputs: 3,
                classes: 3,
                none_class: false,
            };
            // The first mask is not one of them.
            known_loss(&logits, 1, &known, &[])
        };
        let found = loss(&values);
        assert_eq!(found.looked_at, [false, true, true]);
        for at in 0..values.len() {
            let moved = |by: f32| {
                let mut moved = values;
                moved[at] += by;
                loss(&moved).loss
            };
            let difference = (moved(1e-3) - moved(-1e-3)) / 2e-3;
            assert!(
                (difference - found.gradient[at]).abs() < 1e-4,
                "{at}: {difference}, {}",
                found.gradient[at]
            );
        }
    }

    #[test]
    fn outputs_that_are_left_out_are_not_pushed_down() {
        let logits = Logits {
            values: &[0.5, 3.0, -0.5],
            outputs: 3,
            classes: 3,
            none_class: false,
        };
        let known = [KnownMask {
            output: KnownOutput::Is(0),
            weight: 1.0,
        }];
        let found = known_loss(&logits, 0, &known, &[1]);
        let p = 1.0 / (1.0 + (-1f64).exp());
        assert!((found.loss + p.ln()).abs() < 1e-12);
        for (ours, expected) in found.gradient.iter().zip([p - 1.0, 0.0, 1.0 - p]) {
            assert!((ours - expected).abs() < 1e-12, "{:?}", found.gradient);
        }
    }

    #[test]
    fn an_only_class_is_told_from_none() {
        let logits = Logits {
            values: &[2.0, -2.0],
            outputs: 1,
            classes: 1,
            none_class: true,
        };
        let p = 1.0 / (1.0 + (-2f64).exp());
        let with = score_bag(&logits, &bag(0..1, &[0]), 1);
        assert!((with.loss + p.ln()).abs() < 1e-12 && with.correct);
        let without = score_bag(&logits, &bag(1..2, &[]), 1);
        assert!((without.loss + p.ln()).abs() < 1e-12 && without.correct);
    }

    #[test]
    fn bad_masks_are_uncertain_or_of_another_class() {
        let threshold = 0.5 * 2f64.ln();
        assert!(is_bad_mask(&[0.5, 0.5], &[0], threshold));
        assert!(!is_bad_mask(&[0.99, 0.01], &[0], threshold));
        assert!(is_bad_mask(&[0.01, 0.99], &[0], threshold));
        assert!(!is_bad_mask(&[0.01, 0.99], &[0, 1], threshold));
    }

    #[test]
    fn uncertainty_is_least_where_all_is_alike() {
        let logits = |values| Logits {
            values,
            outputs: 2,
            classes: 2,
            none_class: false,
        };
        let even = uncertainty_loss(&logits(&[1.0, 1.0]), &[0]);
        assert!((even.loss - 2.0 * 2f64.ln()).abs() < 1e-12);
        assert_eq!(even.gradient, [0.0, 0.0]);
        assert!(uncertainty_loss(&logits(&[2.0, 1.0]), &[0]).loss > even.loss);
        assert_eq!(uncertainty_loss(&logits(&[]), &[]).loss, 0.0);
    }
}
