//! Heads that are trained on single masks, by cross entropy: on those that a student picks (instance refinement), on those
//! that are labelled, or on both.
//!
//! Refinement is after Tang et al., Multiple Instance Detection Network with Online Instance Classifier Refinement (CVPR 2017): of each
//! image and label, the best mask is an object of the label; masks that overlap it are of the label too, masks far from
//! all such masks are background, the rest says nothing. Which masks these are, the query `train/refined_masks` says. A
//! label on a mask counts more than what a student picks.

use std::collections::HashSet;

use super::batches::{Dropout, ahead, over_batches, read_masks};
use super::curve::{Best, Curve, Phase};
use super::draw::{Deck, LabelledDraw, balance_halves, class_weights};
use super::mask_labels::{LabelledMask, MaskClass};
use super::mil::{KnownMask, KnownOutput, Logits, known_loss, most_probable};
use super::model::{Head, HeadOptimizer};
use super::spec::HeadSpec;
use super::split::position;
use super::train::{Member, Sums, Training, numbers};
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

/// A mask of a labelled image, with the class that a student calls it by.
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
    /// Whether the image is labelled with the class.
    pub is_on_image: bool,
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

/// The training of one head on single masks.
pub(super) struct Refinement<'a> {
    training: &'a Training<'a>,
    phase: Phase,
    spec: HeadSpec,
    known: Known,
    validation: Known,
    /// Labelled masks to train on.
    labelled: Vec<&'a LabelledMask>,
    ignored: u64,
    /// Weight of the picked masks of each class.
    weights: Vec<f64>,
}

/// Masks of a step.
struct StepCounts {
    /// Picked masks of classes, and as many of the background.
    picks: usize,
    /// Labelled masks of classes.
    objects: usize,
    /// Labelled masks of the background.
    background: usize,
}

/// A refined head.
pub(super) struct Refined {
    pub head: Head,
    pub chosen: Curve,
    pub temperature: f64,
}

impl<'a> Refinement<'a> {
    /// Trains on the masks that a student picks, and on labelled masks.
    pub fn new(training: &'a Training<'a>, student: &Head, pick: &PickMasks<'_>) -> Result<Self> {
        let bags = training.bags;
        let scored = scored_masks(training, student)?;
        let picked = pick(bags, &scored)?;
        let labelled: HashSet<u32> = bags.labelled.iter().map(|mask| mask.row).collect();
        // On photos of several objects, many masks that are far from a student's picks show another object.
        let trusts_far_masks = bags.background_labels() == 0;
        let (mut known, mut validation) = (Known::default(), Known::default());
        let mut used = 0;
        let is_negative = |image: usize| {
            let image = bags.images.get(image);
            image.is_some_and(|image| image.classes.is_empty())
        };
        let mut add = |image: usize, row: u32, class: Option<usize>| {
            let is_picked = class.is_some() || trusts_far_masks || is_negative(image);
            if labelled.contains(&row) || !is_picked {
                return;
            }
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
        let training_labels: Vec<&LabelledMask> = training.labelled_to_train().collect();
        if known.objects.is_empty() && labelled_objects(&training_labels) == 0 {
            return Err(Error::Head(HeadError::NothingToRefine));
        }
        let spec = training
            .spec
            .with_background(training.options.refine_dropout);
        let weights = known.weights(spec.classes.len(), training.options.balance);
        let ignored = bags
            .masks()
            .saturating_sub(used + bags.labelled.len() as u64);
        Ok(Self {
            training,
            phase: Phase::Refined,
            spec,
            known,
            validation,
            labelled: training_labels,
            ignored,
            weights,
        })
    }

    /// Trains on labelled masks alone. Those of some images validate, if there are enough.
    pub fn of_labels(training: &'a Training<'a>) -> Self {
        let options = training.options;
        let spec = training.spec.clone();
        let drawn =
            |mask: &LabelledMask| position(&mask.image_id, options.seed) < options.validation;
        // Every class keeps its masks for training if all of them would validate.
        let trained: HashSet<&MaskClass> = training
            .bags
            .labelled
            .iter()
            .filter(|mask| !drawn(mask))
            .map(|mask| &mask.class)
            .collect();
        let measures = |mask: &&LabelledMask| drawn(mask) && trained.contains(&mask.class);
        let mut validation = Known::default();
        for mask in training.bags.labelled.iter().filter(measures) {
            match &mask.class {
                MaskClass::Shows(class) => validation.objects.push((*class, mask.row)),
                MaskClass::Background => validation.background.push(mask.row),
                MaskClass::ShowsNot(_) => {}
            }
        }
        let enough = validation.enough(&spec);
        let all = training.bags.labelled.iter();
        let (labelled, validation) = if enough >= MIN_CALIBRATION {
            (all.filter(|mask| !measures(mask)).collect(), validation)
        } else {
            (all.collect(), Known::default())
        };
        Self {
            training,
            phase: Phase::Masks,
            weights: vec![1.0; spec.classes.len()],
            spec,
            known: Known::default(),
            validation,
            labelled,
            ignored: 0,
        }
    }

    /// How many masks validate.
    pub fn validation_masks(&self) -> u64 {
        (self.validation.objects.len() + self.validation.background.len()) as u64
    }

    /// How many masks that the student picks there are to train and to validate on.
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
        let mut random = member.random(self.phase);
        let head = training.start(&self.spec, member, &mut random);
        let mut optimizer = HeadOptimizer::new(&head);
        let enough = self.validation.enough(&self.spec);
        let best = Best::new(options, enough >= MIN_CALIBRATION);
        let images = training.images_per_epoch();
        let steps = images.div_ceil(options.batch_images).max(1);
        let mut labelled = LabelledDraw::new(
            self.labelled.iter().copied(),
            self.spec.classes.len(),
            options.balance,
            random.u64(..),
        );
        let counts = self.masks_of_step(steps);
        let mut draw = Draw::new(&self.known, random.u64(..));
        let train = |head: &mut Head| {
            let dropout = Dropout::of(&self.spec, random.u64(..));
            let mut dropping = fastrand::Rng::with_seed(dropout.seed);
            let steps_of_epoch = (0..steps).map(|_| {
                let picked = draw.step(counts.picks).into_iter();
                let picked = picked.map(|(class, row)| (row, self.known_mask(class)));
                let drawn = picked.chain(labelled.step(counts.objects, counts.background));
                let (rows, mut known): (Vec<u32>, Vec<KnownMask>) = drawn.unzip();
                balance_halves(&mut known, self.spec.classes.len());
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
                steps: steps as f64,
                ..Sums::default()
            };
            Ok((sums, self.validate(head)?))
        };
        let (head, chosen) = training.over_epochs(self.phase, member, head, best, curves, train)?;
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

    /// How many masks a step has. An epoch passes over the picked objects once, however few they are, or over the labelled
    /// masks.
    fn masks_of_step(&self, steps: usize) -> StepCounts {
        let options = self.training.options;
        let max = options.batch_images * MASKS_PER_IMAGE;
        if self.phase == Phase::Masks {
            let half = self.labelled.len().div_ceil(steps).min(max / 2);
            return StepCounts {
                picks: 0,
                objects: half,
                background: half,
            };
        }
        let picked = self.known.objects.len();
        let half = picked.max(labelled_objects(&self.labelled));
        let half = half.div_ceil(steps).min(max / 2);
        if self.labelled.is_empty() {
            return StepCounts {
                picks: half,
                objects: 0,
                background: 0,
            };
        }
        let objects = if picked == 0 {
            half
        } else {
            (half as f64 * options.label_share).round() as usize
        };
        StepCounts {
            picks: half - objects,
            objects,
            background: if self.known.background.is_empty() {
                half
            } else {
                objects
            },
        }
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
        let found = known_loss(&self.logits(&values), 0, known, &[]);
        let rows: Vec<i32> = (0..i32::try_from(known.len()).unwrap_or(i32::MAX)).collect();
        let gradient = found.gradient.iter().map(|g| *g as f32).collect();
        let gradients = head.gradients(activations, &rows, gradient);
        optimizer.step(training.options.learning_rate, head, gradients);
        Ok(found.loss)
    }

    fn known_mask(&self, class: Option<usize>) -> KnownMask {
        let weight = class.and_then(|class| self.weights.get(class));
        KnownMask {
            output: KnownOutput::Is(class.unwrap_or(self.spec.classes.len())),
            weight: weight.copied().unwrap_or(1.0),
        }
    }

    fn logits<'v>(&self, values: &'v [f32]) -> Logits<'v> {
        Logits {
            values,
            outputs: self.spec.outputs(),
            classes: self.spec.outputs(),
            none_class: self.spec.has_none_class(),
        }
    }

    /// The logits of the validation masks, and these as known ones: objects and background weigh half each.
    fn predict_validation(&self, head: &Head) -> Result<(Vec<f32>, Vec<KnownMask>)> {
        let half = |masks: usize| 0.5 / masks.max(1) as f64;
        let known = |output: usize, masks: usize| KnownMask {
            output: KnownOutput::Is(output),
            weight: half(masks),
        };
        let (objects, background) = (&self.validation.objects, &self.validation.background);
        let of_classes = objects.iter();
        let of_classes = of_classes.map(|(class, row)| (*row, known(*class, objects.len())));
        let others = background.iter();
        let others = others.map(|row| (*row, known(self.spec.classes.len(), background.len())));
        let (rows, known): (Vec<u32>, Vec<KnownMask>) = of_classes.chain(others).unzip();
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
        if self.validation.enough(&self.spec) == 0 {
            return Ok(None);
        }
        let (values, known) = self.predict_validation(head)?;
        let logits = self.logits(&values);
        let right = |(mask, it): (usize, &KnownMask)| {
            let best = most_probable(logits.probabilities(mask).into_iter());
            let is_right = best.is_some_and(|best| it.output == KnownOutput::Is(best));
            f64::from(u8::from(is_right)) * it.weight
        };
        let all: f64 = known.iter().map(|it| it.weight).sum();
        let accuracy: f64 = known.iter().enumerate().map(right).sum();
        let loss = known_loss(&logits, 0, &known, &[]).loss;
        Ok(Some((loss, accuracy / all.max(f64::MIN_POSITIVE))))
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
                let squares = squares.map(|(at, p)| {
                    let is_right = it.output == KnownOutput::Is(at);
                    (p - f64::from(u8::from(is_right))).powi(2)
                });
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
        None,
        |mut batch| {
            let values = training.predict(student, &mut batch)?;
            let logits = training.logits(&values, student.outputs());
            let logits = if logits.none_class {
                logits
            } else {
                logits.of_all_outputs()
            };
            for (bag, image) in batch.bags.iter().zip(&mut images) {
                for (mask, at) in bag.masks.clone().enumerate() {
                    let probabilities = logits.probabilities(at);
                    let best = most_probable(probabilities.iter().copied());
                    let Some(class) = best.filter(|best| *best < training.spec.classes.len())
                    else {
                        continue; // the background, where the student knows it
                    };
                    let score = probabilities.get(class).copied().unwrap_or(0.0);
                    scored.push(ScoredMask {
                        image: *image,
                        mask,
                        class,
                        score: score as f32,
                        is_on_image: bag.classes.contains(&class),
                    });
                }
            }
            Ok(())
        },
    )?;
    Ok(scored)
}

/// Number of masks that are labelled with a class.
fn labelled_objects(labelled: &[&LabelledMask]) -> usize {
    let shows = |mask: &&&LabelledMask| matches!(mask.class, MaskClass::Shows(_));
    labelled.iter().filter(shows).count()
}

impl Known {
    /// The weight of the masks of each class.
    fn weights(&self, classes: usize, balance: Balance) -> Vec<f64> {
        let mut counts = vec![0; classes];
        for (class, _) in &self.objects {
            if let Some(count) = counts.get_mut(*class) {
                *count += 1;
            }
        }
        class_weights(&counts, balance)
    }

    /// The number of masks of classes or of the background, whichever are fewer; of a head that knows no background, of
    /// classes.
    fn enough(&self, spec: &HeadSpec) -> usize {
        if spec.knows_background() {
            self.objects.len().min(self.background.len())
        } else {
            self.objects.len()
        }
    }
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

    /// So many masks of classes and as many of the background, with their classes; `None` for the background.
    fn step(&mut self, half: usize) -> Vec<(Option<usize>, u32)> {
        let Self {
            known,
            objects,
            background,
            random,
        } = self;
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
            let drawn = draw.step(4);
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
        assert_eq!(draw.step(50).len(), 12);
    }
}
