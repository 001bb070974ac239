//! Instance refinement: a head with an output for the background, trained on the masks that a student picks.
//!
//! After Tang et al., Multiple Instance Detection Network with Online Instance Classifier Refinement (CVPR 2017): of each
//! image and label, the best mask is an object of the label; masks that overlap it are of the label too, masks far from
//! all such masks are background, the rest says nothing. Which masks these are, the query `train/refined_masks` says;
//! here they are trained on, by cross entropy.

use super::batches::{Dropout, ahead, over_batches, read_masks};
use super::mil::{KnownMask, Logits, known_loss, most_probable};
use super::model::{Head, HeadOptimizer};
use super::spec::HeadSpec;
use super::train::{Best, Curve, Member, Phase, Sums, Training, numbers};
use super::train_options::{Balance, Pick};
use super::weights::RefinedCounts;
use crate::error::HeadError;
use crate::{Error, Result};

/// Masks of a step for each image of a step of teacher and student.
const MASKS_PER_IMAGE: usize = 16;
/// Masks predicted at once.
const CHUNK: usize = 4096;
/// Minimum number of validation masks of objects, and of the background, that a temperature is fitted to.
const MIN_CALIBRATION: usize = 30;
/// Temperatures that are tried.
const TEMPERATURES: std::ops::RangeInclusive<f64> = 0.25..=8.0;
/// Maximum weight of a class's masks, as a multiple of their share, so that one with few masks does not decide.
const MAX_WEIGHT: f64 = 10.0;

/// A mask that a student calls by a class of its image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoredMask {
    /// Index of the image in [`super::Bags::images`].
    pub image: usize,
    /// Index of the mask in the image's bag.
    pub mask: usize,
    /// Index of the class.
    pub class: usize,
    /// Its probability.
    pub score: f32,
}

/// A mask that is known to show a class, or none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PickedMask {
    /// Index of the image in [`super::Bags::images`].
    pub image: usize,
    /// Index of the mask in the image's bag.
    pub mask: usize,
    /// Index of the class; `None` for the background.
    pub class: Option<usize>,
}

/// Picks masks by a student's scores: those of classes, and those of the background.
pub type PickMasks<'a> =
    dyn Fn(&super::bags::Bags, &[ScoredMask]) -> Result<Vec<PickedMask>> + Sync + 'a;

/// Masks with the index of their output.
#[derive(Default)]
struct Known {
    /// Masks of a class, each with its row in the embeddings.
    objects: Vec<(usize, u32)>,
    /// Rows of masks of the background.
    background: Vec<u32>,
}

/// The refinement of one student.
pub(super) struct Refinement<'a> {
    training: &'a Training<'a>,
    spec: HeadSpec,
    known: Known,
    validation: Known,
    ignored: u64,
    /// Weight of the masks of each class.
    weights: Vec<f64>,
}

/// A refined head.
pub(super) struct Refined {
    pub head: Head,
    pub chosen: Curve,
    pub temperature: f64,
}

impl<'a> Refinement<'a> {
    /// Picks the masks to train on.
    pub fn new(training: &'a Training<'a>, student: &Head, pick: &PickMasks<'_>) -> Result<Self> {
        let bags = training.bags;
        let scored = scored_masks(training, student)?;
        let picked = pick(bags, &scored)?;
        let (mut known, mut validation) = (Known::default(), Known::default());
        let mut used = 0;
        let mut add = |image: usize, row: u32, class: Option<usize>| {
            used += 1;
            let into = match training.split.validation.binary_search(&image) {
                Ok(_) => &mut validation,
                Err(_) => &mut known,
            };
            match class {
                Some(class) => into.objects.push((class, row)),
                None => into.background.push(row),
            }
        };
        for it in picked {
            let row = bags
                .images
                .get(it.image)
                .and_then(|image| image.rows.get(it.mask));
            if let Some(row) = row {
                add(it.image, *row, it.class);
            }
        }
        for (at, image) in bags.images.iter().enumerate() {
            if image.classes.is_empty() {
                image.rows.iter().for_each(|row| add(at, *row, None));
            }
        }
        if known.objects.is_empty() {
            return Err(Error::Head(HeadError::NothingToRefine));
        }
        let spec = training
            .spec
            .with_background(training.options.refine_dropout);
        let weights = class_weights(&known, spec.classes.len(), training.options.balance);
        Ok(Self {
            training,
            spec,
            known,
            validation,
            ignored: bags.masks() - used,
            weights,
        })
    }

    /// How many masks there are to train and to validate on.
    pub fn counts(&self) -> RefinedCounts {
        RefinedCounts {
            objects: (self.known.objects.len() + self.validation.objects.len()) as u64,
            background: (self.known.background.len() + self.validation.background.len()) as u64,
            ignored: self.ignored,
        }
    }

    /// Trains the head.
    pub fn run(&self, member: Member, curves: &mut Vec<Curve>) -> Result<Refined> {
        let (training, options) = (self.training, self.training.options);
        let mut random = member.random(Phase::Refined);
        let head = training.start(&self.spec, member, &mut random);
        let mut optimizer = HeadOptimizer::new(&head);
        let enough = self
            .validation
            .objects
            .len()
            .min(self.validation.background.len());
        let best = Best::new(options, enough >= MIN_CALIBRATION);
        let images = training.split.images_per_epoch();
        let steps = images.div_ceil(options.batch_images).max(1);
        // An epoch passes over the objects once, however few they are.
        let max = options.batch_images * MASKS_PER_IMAGE;
        let masks = (2 * self.known.objects.len().div_ceil(steps)).min(max);
        let mut draw = Draw::new(&self.known, random.u64(..));
        let train = |head: &mut Head| {
            let dropout = Dropout::of(&self.spec, random.u64(..));
            let mut dropping = fastrand::Rng::with_seed(dropout.seed);
            let steps_of_epoch = (0..steps).map(|_| {
                let drawn = draw.step(masks);
                let rows: Vec<u32> = drawn.iter().map(|(_, row)| *row).collect();
                let known = drawn.iter().map(|(class, _)| self.known_mask(*class));
                let known: Vec<KnownMask> = known.collect();
                let embeddings = read_masks(training.bags, &rows)?;
                let dropped = dropout.draw(rows.len(), &mut dropping);
                Ok((embeddings, known, dropped))
            });
            let mut loss = 0.0;
            ahead(steps_of_epoch, |(embeddings, known, dropped)| {
                loss += self.step(head, &mut optimizer, embeddings, &known, dropped)?;
                Ok(())
            })?;
            training.progress.advance(images as u64);
            let sums = Sums {
                loss,
                mil: loss,
                uncertainty: 0.0,
                steps: steps as f64,
            };
            Ok((sums, self.validate(head)?))
        };
        let (head, chosen) =
            training.over_epochs(Phase::Refined, member, head, best, curves, train)?;
        let temperature = if enough >= MIN_CALIBRATION {
            self.temperature(&head)?
        } else {
            1.0
        };
        Ok(Refined {
            head,
            chosen,
            temperature,
        })
    }

    fn step(
        &self,
        head: &mut Head,
        optimizer: &mut HeadOptimizer,
        embeddings: Vec<f32>,
        known: &[KnownMask],
        dropped: Option<Vec<f32>>,
    ) -> Result<f64> {
        let training = self.training;
        let dropout = dropped.map(|values| training.factors(values, known.len()));
        let inputs = training.tensor(embeddings, known.len());
        let activations = head.run(inputs, dropout, Pick::Noisy);
        let values = numbers(activations.logits.clone())?;
        let found = known_loss(&self.logits(&values), known);
        let rows: Vec<i32> = (0..i32::try_from(known.len()).unwrap_or(i32::MAX)).collect();
        let gradient = found.gradient.iter().map(|g| *g as f32).collect();
        let gradients = head.gradients(activations, &rows, gradient);
        optimizer.step(training.options.learning_rate, head, gradients);
        Ok(found.loss)
    }

    fn known_mask(&self, class: Option<usize>) -> KnownMask {
        let weight = class.and_then(|class| self.weights.get(class));
        KnownMask {
            class: class.unwrap_or(self.spec.classes.len()),
            weight: weight.copied().unwrap_or(1.0),
        }
    }

    fn logits<'v>(&self, values: &'v [f32]) -> Logits<'v> {
        Logits {
            values,
            classes: self.spec.outputs(),
            none_class: false,
        }
    }

    /// The logits of the validation masks, and these as known ones: objects and background weigh half each.
    fn predict_validation(&self, head: &Head) -> Result<(Vec<f32>, Vec<KnownMask>)> {
        let half = |masks: usize| 0.5 / masks.max(1) as f64;
        let of_class = KnownMask {
            class: 0,
            weight: half(self.validation.objects.len()),
        };
        let of_background = KnownMask {
            class: self.spec.classes.len(),
            weight: half(self.validation.background.len()),
        };
        let objects = self.validation.objects.iter();
        let objects = objects.map(|(class, row)| {
            let class = *class;
            (*row, KnownMask { class, ..of_class })
        });
        let background = self.validation.background.iter();
        let others = background.map(|row| (*row, of_background));
        let (rows, known): (Vec<u32>, Vec<KnownMask>) = objects.chain(others).unzip();
        let mut values = Vec::with_capacity(rows.len() * self.spec.outputs());
        for rows in rows.chunks(CHUNK) {
            let embeddings = read_masks(self.training.bags, rows)?;
            let inputs = self.training.tensor(embeddings, rows.len());
            values.extend(numbers(head.forward(inputs))?);
        }
        Ok((values, known))
    }

    /// Loss and accuracy over the validation masks; `None` if there are none of objects, or none of the background.
    fn validate(&self, head: &Head) -> Result<Option<(f64, f64)>> {
        if self.validation.objects.is_empty() || self.validation.background.is_empty() {
            return Ok(None);
        }
        let (values, known) = self.predict_validation(head)?;
        let logits = self.logits(&values);
        let right = |(mask, it): (usize, &KnownMask)| {
            let best = most_probable(logits.probabilities(mask).into_iter());
            f64::from(u8::from(best == Some(it.class))) * it.weight
        };
        let accuracy = known.iter().enumerate().map(right).sum();
        Ok(Some((known_loss(&logits, &known).loss, accuracy)))
    }

    /// The temperature with the least squared error (Brier score) of the validation masks, by golden section. It is
    /// minimal at the same probabilities as cross entropy, with which temperatures are usually fitted (Guo et al., On
    /// Calibration of Modern Neural Networks, ICML 2017), but one image in which the student picked a wrong mask cannot
    /// decide it.
    fn temperature(&self, head: &Head) -> Result<f64> {
        let (values, known) = self.predict_validation(head)?;
        let loss = |log: f64| {
            let factor = (-log).exp() as f32;
            let divided: Vec<f32> = values.iter().map(|x| x * factor).collect();
            let logits = self.logits(&divided);
            let errors = known.iter().enumerate().map(|(mask, it)| {
                let squares = logits.probabilities(mask).into_iter().enumerate();
                let squares =
                    squares.map(|(at, p)| (p - f64::from(u8::from(at == it.class))).powi(2));
                it.weight * squares.sum::<f64>()
            });
            errors.sum::<f64>()
        };
        let shrink = (5f64.sqrt() - 1.0) / 2.0;
        let (mut low, mut high) = (TEMPERATURES.start().ln(), TEMPERATURES.end().ln());
        for _ in 0..30 {
            let (left, right) = (high - shrink * (high - low), low + shrink * (high - low));
            if loss(left) < loss(right) {
                high = right;
            } else {
                low = left;
            }
        }
        Ok(f64::midpoint(low, high).exp())
    }
}

/// The masks that the student calls by a class of their image, with its probability. Where it calls none so, nothing of
/// the image can be trusted.
fn scored_masks(training: &Training<'_>, student: &Head) -> Result<Vec<ScoredMask>> {
    let bags = training.bags;
    let labelled = bags.images.iter().enumerate();
    let labelled = labelled.filter(|(_, image)| !image.classes.is_empty());
    let labelled: Vec<usize> = labelled.map(|(at, _)| at).collect();
    let mut scored = Vec::new();
    let mut images = labelled.iter();
    over_batches(
        bags,
        &training.split.weights,
        labelled.chunks(training.options.batch_images),
        None,
        |mut batch| {
            let values = training.predict(student, &mut batch)?;
            let logits = training.logits(&values);
            for (bag, image) in batch.bags.iter().zip(&mut images) {
                for (mask, at) in bag.masks.clone().enumerate() {
                    let probabilities = logits.probabilities(at);
                    let best = most_probable(probabilities.iter().copied());
                    for class in bag.classes.iter().filter(|class| best == Some(**class)) {
                        let score = probabilities.get(*class).copied().unwrap_or(0.0);
                        scored.push(ScoredMask {
                            image: *image,
                            mask,
                            class: *class,
                            score: score as f32,
                        });
                    }
                }
            }
            Ok(())
        },
    )?;
    Ok(scored)
}

/// The weight of each class's masks: 1 on average and, unless nothing is balanced, greater the fewer masks the class
/// has.
fn class_weights(known: &Known, classes: usize, balance: Balance) -> Vec<f64> {
    if balance == Balance::None {
        return vec![1.0; classes];
    }
    let mut counts = vec![0.0; classes];
    for (class, _) in &known.objects {
        if let Some(count) = counts.get_mut(*class) {
            *count += 1.0;
        }
    }
    let seen = counts.iter().filter(|count| **count > 0.0).count().max(1);
    let share = known.objects.len() as f64 / seen as f64;
    let weight = |count: &f64| f64::min(share / count.max(1.0), MAX_WEIGHT);
    counts.iter().map(weight).collect()
}

/// Draws the masks of each step: equal numbers of objects and of the background, each in random order, over and over.
struct Draw<'a> {
    known: &'a Known,
    objects: Deck,
    background: Deck,
    random: fastrand::Rng,
}

impl<'a> Draw<'a> {
    fn new(known: &'a Known, seed: u64) -> Self {
        Self {
            known,
            objects: Deck::new(known.objects.len()),
            background: Deck::new(known.background.len()),
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// About `masks` masks of a step, with their classes; `None` for the background.
    fn step(&mut self, masks: usize) -> Vec<(Option<usize>, u32)> {
        let Self {
            known,
            objects,
            background,
            random,
        } = self;
        let half = (masks / 2).max(1);
        let of_classes = objects.deal(half, random).into_iter();
        let of_classes = of_classes.filter_map(|at| known.objects.get(at));
        let mut drawn: Vec<_> = of_classes
            .map(|(class, row)| (Some(*class), *row))
            .collect();
        let of_none = background.deal(half, random).into_iter();
        let of_none = of_none.filter_map(|at| known.background.get(at));
        drawn.extend(of_none.map(|row| (None, *row)));
        drawn
    }
}

/// Numbers in random order, shuffled anew when all have been dealt.
struct Deck {
    order: Vec<usize>,
    next: usize,
}

impl Deck {
    fn new(count: usize) -> Self {
        Self {
            order: (0..count).collect(),
            next: count,
        }
    }

    /// The next numbers, at most as many as there are.
    fn deal(&mut self, count: usize, random: &mut fastrand::Rng) -> Vec<usize> {
        let mut dealt = Vec::with_capacity(count);
        while dealt.len() < count.min(self.order.len()) {
            if self.next >= self.order.len() {
                random.shuffle(&mut self.order);
                self.next = 0;
            }
            let until = (self.next + count - dealt.len()).min(self.order.len());
            dealt.extend(self.order.get(self.next..until).unwrap_or_default());
            self.next = until;
        }
        dealt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_as_many_objects_as_background() {
        let known = Known {
            objects: (0..7).map(|at| (at as usize % 2, at)).collect(),
            background: (100..105).collect(),
        };
        let mut draw = Draw::new(&known, 1);
        let mut seen = std::collections::HashMap::new();
        for _ in 0..35 {
            let drawn = draw.step(8);
            assert_eq!(drawn.len(), 8);
            assert_eq!(drawn.iter().filter(|(class, _)| class.is_none()).count(), 4);
            for (class, row) in drawn {
                assert_eq!(class, (row < 100).then_some(row as usize % 2));
                *seen.entry(row).or_insert(0) += 1;
            }
        }
        // 140 of each: every object 20 times, every mask of the background 28 times.
        assert!((0..7).all(|row| seen[&row] == 20) && (100..105).all(|row| seen[&row] == 28));
        // No more than there are.
        assert_eq!(draw.step(100).len(), 12);
    }

    #[test]
    fn rare_classes_weigh_more() {
        let known = Known {
            objects: [0, 0, 0, 1, 0, 0].iter().map(|class| (*class, 0)).collect(),
            background: Vec::new(),
        };
        assert_eq!(class_weights(&known, 3, Balance::None), [1.0; 3]);
        assert_eq!(class_weights(&known, 3, Balance::Weights), [0.6, 3.0, 3.0]);
    }
}
