//! The training loop: batches of bags through the head, losses, steps, validation.

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::bags::Bags;
use super::batches::{Batch, Dropout, over_batches};
use super::mil::{Logits, LossGradient, is_bad_mask, mil_loss, score_bag, uncertainty_loss};
use super::model::{Head, HeadOptimizer};
use super::spec::{HeadSpec, Loss, TrainOptions};
use super::split::Split;
use super::unusable::{IN_TRAINING, unusable};
use super::weights::HeadWeights;
use crate::error::HeadError;
use crate::progress::Progress;
use crate::{Error, Result};

/// If the loss depends on at least this fraction of a step's masks, all of them go backward.
const LOOKED_AT_SHARE: f64 = 0.8;

/// Which model is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The teacher, trained with multiple-instance loss only.
    Teacher,
    /// The student, trained with uncertainty distillation.
    Student,
}

/// Metrics of one epoch, a pass over the images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The model that was trained.
    pub phase: Phase,
    /// Number of the epoch, from 1.
    pub epoch: usize,
    /// Mean loss of its steps.
    pub loss: f64,
    /// Mean multiple-instance loss of its steps.
    pub mil: f64,
    /// Mean uncertainty loss of its steps; `None` for a teacher.
    pub uncertainty: Option<f64>,
    /// Mean multiple-instance loss over the validation images; `None` if there are none.
    pub validation_loss: Option<f64>,
    /// Fraction of the validation images whose most probable class is one of their classes; `None` if there are none.
    pub validation_accuracy: Option<f64>,
    /// Wall-clock time in seconds.
    pub seconds: f64,
}

/// The result of training.
#[derive(Debug, Clone)]
pub struct TrainedHead {
    /// Weights of the student, or of the teacher where there is no student.
    pub weights: HeadWeights,
    /// Weights of the teacher, where there is a student.
    pub teacher: Option<HeadWeights>,
    /// Every epoch, in order.
    pub curves: Vec<Curve>,
    /// The epoch that the weights come from.
    pub chosen: Curve,
}

/// The inputs of a training.
#[derive(Clone, Copy)]
pub struct Training<'a> {
    /// The images and their masks.
    pub bags: &'a Bags,
    /// The head's shape.
    pub spec: &'a HeadSpec,
    /// Training options, with a number for each option that may be left open.
    pub options: &'a TrainOptions,
    /// Which images are used for training, and which for validation.
    pub split: &'a Split,
    /// Weights to start from; `None` for random ones.
    pub start: Option<&'a HeadWeights>,
    /// Device to train on.
    pub device: &'a Device,
    /// The caller's progress reporter.
    pub progress: &'a dyn Progress,
}

/// Sums over the steps of an epoch.
#[derive(Default)]
struct Sums {
    loss: f64,
    mil: f64,
    uncertainty: f64,
    steps: f64,
}

impl Training<'_> {
    /// Trains the head: a teacher and, if the options ask for it, a student.
    ///
    /// On a CPU, the same input gives the same weights.
    ///
    /// # Errors
    /// [`crate::error::HeadError::Diverged`] if outputs or weights are no longer finite;
    /// [`crate::error::HeadError::Unusable`] if they cannot be read from the device or there are no epochs;
    /// [`crate::Error::File`] if embeddings kept in a file cannot be read.
    pub fn run(&self) -> Result<TrainedHead> {
        let phases = match self.options.loss {
            Loss::Mil => 1,
            Loss::MilDistill => 2,
        };
        let images = (self.split.images_per_epoch() * self.epochs() * phases) as u64;
        self.progress.start("images", Some(images));
        let mut curves = Vec::new();
        let (teacher, chosen) = self.phase(Phase::Teacher, &[], &mut curves)?;
        let trained = match self.options.loss {
            Loss::Mil => TrainedHead {
                weights: self.weights(&teacher)?,
                teacher: None,
                curves,
                chosen,
            },
            Loss::MilDistill => {
                let bad = self.bad_masks(&teacher)?;
                let (student, chosen) = self.phase(Phase::Student, &bad, &mut curves)?;
                TrainedHead {
                    weights: self.weights(&student)?,
                    teacher: Some(self.weights(&teacher)?),
                    curves,
                    chosen,
                }
            }
        };
        self.progress.finish();
        Ok(trained)
    }

    /// A head's weights, with the statistics by which its inputs are normalised.
    fn weights(&self, head: &Head) -> Result<HeadWeights> {
        Ok(HeadWeights::of(head)?.with_standards(&self.bags.normaliser))
    }

    fn epochs(&self) -> usize {
        self.options.epochs.unwrap_or(1)
    }

    /// Trains one phase; returns the head and the epoch that it comes from. `bad` is true for each row of the
    /// embeddings whose mask is uncertain or rejected by the teacher.
    fn phase(&self, phase: Phase, bad: &[bool], curves: &mut Vec<Curve>) -> Result<(Head, Curve)> {
        let salt = match phase {
            Phase::Teacher => 1,
            Phase::Student => 2,
        };
        let mut random = fastrand::Rng::with_seed(self.options.seed.wrapping_mul(4) + salt);
        let mut head = match self.start {
            Some(weights) => weights.on(self.device),
            None => HeadWeights::random(self.spec, random.u64(..)).on(self.device),
        };
        let mut optimizer = HeadOptimizer::new(&head);
        let mut chosen: Option<(Head, Curve)> = None;
        let mut least = f64::INFINITY;
        let mut since_best = 0;
        for epoch in 1..=self.epochs() {
            let started = std::time::Instant::now();
            let order = self.split.draw_epoch(&mut random);
            let sums = self.epoch(&mut head, &mut optimizer, &order, random.u64(..), bad)?;
            let validation = self.validate(&head)?;
            let steps = sums.steps.max(1.0);
            let curve = Curve {
                phase,
                epoch,
                loss: sums.loss / steps,
                mil: sums.mil / steps,
                uncertainty: (phase == Phase::Student).then_some(sums.uncertainty / steps),
                validation_loss: validation.map(|(loss, _)| loss),
                validation_accuracy: validation.map(|(_, accuracy)| accuracy),
                seconds: started.elapsed().as_secs_f64(),
            };
            self.progress.status(&curve.to_string());
            curves.push(curve.clone());
            let loss = validation.filter(|_| self.split.can_choose());
            let loss = loss.map(|(loss, _)| loss);
            if chosen.is_none() || loss.is_none_or(|loss| loss < least) {
                chosen = Some((head.clone(), curve));
                least = loss.unwrap_or(least);
                since_best = 0;
                continue;
            }
            since_best += 1;
            let patience = self.options.patience.unwrap_or(0);
            if patience > 0 && since_best >= patience {
                let left = self.epochs() - epoch;
                self.progress
                    .advance((left * self.split.images_per_epoch()) as u64);
                break;
            }
        }
        chosen.ok_or_else(|| unusable(IN_TRAINING, "it was given no epochs"))
    }

    fn epoch(
        &self,
        head: &mut Head,
        optimizer: &mut HeadOptimizer,
        order: &[usize],
        seed: u64,
        bad: &[bool],
    ) -> Result<Sums> {
        let mut sums = Sums::default();
        let width = self.spec.hidden.last().copied().unwrap_or(0);
        let dropout = Dropout {
            width,
            probability: self.spec.dropout,
            seed,
        };
        let batches = order.chunks(self.options.batch_images);
        over_batches(
            self.bags,
            &self.split.weights,
            batches,
            Some(dropout),
            |batch| {
                let images = batch.bags.len() as u64;
                self.step(head, optimizer, batch, bad, &mut sums)?;
                self.progress.advance(images);
                Ok(())
            },
        )?;
        Ok(sums)
    }

    fn step(
        &self,
        head: &mut Head,
        optimizer: &mut HeadOptimizer,
        batch: Batch,
        bad: &[bool],
        sums: &mut Sums,
    ) -> Result<()> {
        let masks = batch.rows.len();
        let width = self.spec.hidden.last().copied().unwrap_or(0);
        let dropout = batch.dropout.map(|values| {
            Tensor::<2>::from_data(TensorData::new(values, [masks, width]), self.device)
        });
        let embeddings = self.tensor(batch.embeddings, masks);
        let activations = head.run(embeddings, dropout);
        let values = numbers(activations.logits.clone())?;
        let logits = self.logits(&values);
        let mut total = mil_loss(&logits, &batch.bags, |d| self.options.k(d));
        sums.mil += total.loss;
        if !bad.is_empty() {
            let is_bad = |row: &u32| bad.get(*row as usize) == Some(&true);
            let bad_here = batch.rows.iter().enumerate();
            let bad_here: Vec<usize> = bad_here
                .filter(|(_, row)| is_bad(row))
                .map(|(mask, _)| mask)
                .collect();
            let uncertainty = uncertainty_loss(&logits, &bad_here);
            sums.uncertainty += uncertainty.loss;
            total = total.plus(
                self.options.lambda_mil,
                &uncertainty,
                self.options.lambda_unc,
            );
        }
        sums.loss += total.loss;
        sums.steps += 1.0;
        let (rows, gradients) = self.backward_rows(&total);
        let gradients = head.gradients(activations, &rows, gradients);
        optimizer.step(self.options.learning_rate, head, gradients);
        Ok(())
    }

    /// The masks that go backward, ascending, and their gradients with respect to the logits, row-major. These are the
    /// masks that the loss depends on or, if they are most of the masks, all of them, because selecting rows would then
    /// cost more than it saves.
    fn backward_rows(&self, loss: &LossGradient) -> (Vec<i32>, Vec<f32>) {
        let classes = self.spec.classes.len();
        let looked_at = loss.looked_at.iter().filter(|looked_at| **looked_at);
        let all = looked_at.count() as f64 >= LOOKED_AT_SHARE * loss.looked_at.len() as f64;
        let mut rows = Vec::with_capacity(loss.looked_at.len());
        let mut gradients = Vec::with_capacity(loss.gradient.len());
        let masks = loss
            .looked_at
            .iter()
            .zip(loss.gradient.chunks_exact(classes));
        for (mask, (looked_at, gradient)) in masks.enumerate() {
            if all || *looked_at {
                rows.push(i32::try_from(mask).unwrap_or(i32::MAX));
                gradients.extend(gradient.iter().map(|g| *g as f32));
            }
        }
        (rows, gradients)
    }

    /// Mean loss and accuracy over the validation images; `None` if there are none.
    fn validate(&self, head: &Head) -> Result<Option<(f64, f64)>> {
        let images = self.split.validation.len();
        if images == 0 {
            return Ok(None);
        }
        let (mut loss, mut correct) = (0.0, 0.0);
        let batches = self.split.validation.chunks(self.options.batch_images);
        over_batches(
            self.bags,
            &self.split.weights,
            batches,
            None,
            |mut batch| {
                let values = self.predict(head, &mut batch)?;
                let logits = self.logits(&values);
                for bag in &batch.bags {
                    let score = score_bag(&logits, bag, self.options.k(bag.masks.len()));
                    loss += score.loss;
                    correct += f64::from(u8::from(score.correct));
                }
                Ok(())
            },
        )?;
        Ok(Some((loss / images as f64, correct / images as f64)))
    }

    /// For each row of the embeddings, whether its mask is uncertain or rejected by the teacher.
    fn bad_masks(&self, teacher: &Head) -> Result<Vec<bool>> {
        let none = self.spec.has_none_class();
        let classes = self.spec.classes.len() + usize::from(none);
        let threshold = self.options.entropy_fraction * (classes as f64).ln();
        let mut bad = vec![false; self.bags.embeddings.rows()];
        let batches = self.split.all_training();
        let batches = batches.chunks(self.options.batch_images);
        over_batches(
            self.bags,
            &self.split.weights,
            batches,
            None,
            |mut batch| {
                let values = self.predict(teacher, &mut batch)?;
                let logits = self.logits(&values);
                for bag in &batch.bags {
                    let mut allowed = bag.classes.clone();
                    if none {
                        // A certain prediction that a mask does not show the only class is no reason to reject the
                        // mask.
                        allowed.push(self.spec.classes.len());
                    }
                    for mask in bag.masks.clone() {
                        let probabilities = logits.probabilities(mask);
                        let row = batch.rows.get(mask).map_or(usize::MAX, |row| *row as usize);
                        if let Some(bad) = bad.get_mut(row) {
                            *bad = is_bad_mask(&probabilities, &allowed, threshold);
                        }
                    }
                }
                Ok(())
            },
        )?;
        Ok(bad)
    }

    /// Computes the logits of a batch and takes its embeddings.
    fn predict(&self, head: &Head, batch: &mut Batch) -> Result<Vec<f32>> {
        let embeddings = std::mem::take(&mut batch.embeddings);
        numbers(head.forward(self.tensor(embeddings, batch.rows.len())))
    }

    fn tensor(&self, embeddings: Vec<f32>, masks: usize) -> Tensor<2> {
        let shape = [masks, self.spec.embedding_dim];
        Tensor::from_data(TensorData::new(embeddings, shape), self.device)
    }

    fn logits<'a>(&self, values: &'a [f32]) -> Logits<'a> {
        Logits {
            values,
            classes: self.spec.classes.len(),
            none_class: self.spec.has_none_class(),
        }
    }
}

fn numbers(tensor: Tensor<2>) -> Result<Vec<f32>> {
    let numbers = tensor.into_data().try_to_vec::<f32>().map_err(|err| {
        unusable(
            IN_TRAINING,
            format!("its outputs cannot be read from the device: {err:?}"),
        )
    })?;
    if numbers.iter().all(|number| number.is_finite()) {
        Ok(numbers)
    } else {
        Err(Error::Head(HeadError::Diverged { what: "outputs" }))
    }
}

impl std::fmt::Display for Curve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let phase = match self.phase {
            Phase::Teacher => "teacher",
            Phase::Student => "student",
        };
        write!(f, "{phase} epoch {}: loss {:.4}", self.epoch, self.loss)?;
        if let (Some(loss), Some(accuracy)) = (self.validation_loss, self.validation_accuracy) {
            write!(
                f,
                ", validation {loss:.4}, accuracy {:.1} %",
                accuracy * 100.0
            )?;
        }
        Ok(())
    }
}
