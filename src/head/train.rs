//! The training loop: batches of bags through the head, losses, steps, validation.

use super::bags::Bags;
use super::batches::{Added, Batch, Dropout, over_batches};
use super::closed_form::closed_form;
use super::curve::{Best, Curve, Phase};
use super::draw::LabelledDraw;
use super::loss::Loss;
use super::mask_labels::LabelledMask;
use super::mil::{
    Logits, LossGradient, is_bad_mask, known_loss, mil_loss_picked, score_bag, uncertainty_loss,
};
use super::model::{Head, HeadOptimizer};
use super::refine::{PickMasks, Refined, Refinement};
use super::spec::HeadSpec;
use super::split::Split;
use super::train_options::{Pick, TrainOptions};
use super::trained::TrainedHead;
use super::unusable::{IN_TRAINING, unusable};
use super::warm_start::Start;
use super::weights::{HeadWeights, RefinedCounts};
use crate::error::HeadError;
use crate::progress::Progress;
use crate::{Error, Result};
use burn::tensor::{Device, Tensor, TensorData};
use std::panic::resume_unwind;

/// If the loss depends on at least this fraction of a step's masks, all of them go backward.
const LOOKED_AT_SHARE: f64 = 0.8;
/// Labelled masks that count as one image where only masks are trained on.
const MASKS_AS_IMAGE: usize = 4;
/// Labelled masks from which on their loss has its full weight; `docs/train.md` has the experiment.
const ENOUGH_LABELS: f64 = 300.0;
/// Labelled masks of a step for each of its images.
const LABELLED_PER_IMAGE: usize = 2;

/// The inputs of a training.
#[derive(Clone, Copy)]
pub struct Training<'a> {
    /// The images and their masks.
    pub bags: &'a Bags,
    /// The shape of the head or, where it is refined, of its student. It has an output for the background if masks are
    /// labelled as that.
    pub spec: &'a HeadSpec,
    /// Training options, with a number for each option that may be left open.
    pub options: &'a TrainOptions,
    /// Which images are used for training, and which for validation.
    pub split: &'a Split,
    /// Weights to start from; `None` for random ones.
    pub start: Option<&'a Start>,
    /// Finds the masks that show a student's classes, and those that show none; needed if the loss refines.
    pub pick_masks: Option<&'a PickMasks<'a>>,
    /// Device to train on.
    pub device: &'a Device,
    /// Maximum number of members that are trained at once, each on a thread of its own.
    pub members_at_once: usize,
    /// The caller's progress reporter.
    pub progress: &'a dyn Progress,
}

/// The number of images that an epoch over labelled masks counts as, in the number of steps that it has.
pub(super) fn masks_as_images(masks: usize) -> usize {
    masks.div_ceil(MASKS_AS_IMAGE)
}

/// Sums over the steps of an epoch.
#[derive(Default)]
pub(super) struct Sums {
    pub loss: f64,
    pub mil: f64,
    pub uncertainty: f64,
    pub masks: f64,
    pub steps: f64,
}

/// One member of a head in training.
#[derive(Clone, Copy)]
pub(super) struct Member {
    /// Its number, from 0.
    pub at: usize,
    /// Seed of its random choices.
    pub seed: u64,
}

impl Member {
    /// The random choices of a phase.
    pub fn random(self, phase: Phase) -> fastrand::Rng {
        let salt = match phase {
            Phase::Teacher => 1,
            Phase::Student => 2,
            Phase::Refined => 3,
            Phase::Masks => 0,
        };
        fastrand::Rng::with_seed(self.seed.wrapping_mul(4).wrapping_add(salt))
    }
}

/// A member's heads, phase by phase.
#[derive(Default)]
struct TrainedMember {
    teacher: Option<HeadWeights>,
    student: Option<HeadWeights>,
    /// The one that is trained on single masks.
    last: Option<HeadWeights>,
    temperature: Option<f64>,
    counts: RefinedCounts,
    chosen: Option<Curve>,
    /// Labelled masks that it validates on, if it is trained on them alone.
    validation_masks: Option<u64>,
    curves: Vec<Curve>,
}

impl Training<'_> {
    /// Trains the head: for each member a teacher and, if the options ask for them, a student and a refined head.
    ///
    /// On a CPU, the same input gives the same weights.
    ///
    /// # Errors
    /// [`crate::error::HeadError::Diverged`] if outputs or weights are no longer finite;
    /// [`crate::error::HeadError::Unusable`] if they cannot be read from the device or there are no epochs;
    /// [`crate::error::HeadError::NothingToRefine`] if the student picks no mask;
    /// [`crate::error::HeadError::OneKindOfMask`] if a closed form has nothing to tell apart;
    /// [`crate::Error::File`] if embeddings kept in a file cannot be read; errors of [`Self::pick_masks`].
    pub fn run(&self) -> Result<TrainedHead> {
        let loss = self.options.loss();
        if loss.is_closed_form() {
            return Ok(TrainedHead {
                weights: closed_form(self.bags, self.spec, loss, self.options.seed)?,
                student: None,
                teacher: None,
                curves: Vec::new(),
                chosen: None,
                validation_masks: 0,
                refined: None,
                temperatures: Vec::new(),
            });
        }
        let phases = self.options.loss().phases() * self.options.members;
        let images = (self.images_per_epoch() * self.epochs() * phases) as u64;
        self.progress.start("images", Some(images));
        let numbers: Vec<usize> = (0..self.options.members).collect();
        let mut members = Vec::with_capacity(numbers.len());
        for at_once in numbers.chunks(self.members_at_once.max(1)) {
            for trained in self.train_members(at_once) {
                members.push(trained?);
            }
        }
        self.progress.finish();
        let mut joined = |head: fn(&mut TrainedMember) -> Option<HeadWeights>| {
            HeadWeights::joined(members.iter_mut().filter_map(head).collect())
        };
        let teacher = joined(|member| member.teacher.take());
        let student = joined(|member| member.student.take());
        let last = joined(|member| member.last.take());
        let (weights, student, teacher) = match (last, student, teacher) {
            (Some(last), student, teacher) => (last, student, teacher),
            (None, Some(student), teacher) => (student, None, teacher),
            (None, None, Some(teacher)) => (teacher, None, None),
            (None, None, None) => return Err(unusable(IN_TRAINING, "it has no members")),
        };
        let unused = self.bags.labelled.len() - self.labelled_to_train().count();
        let mut trained = TrainedHead {
            weights,
            student,
            teacher,
            curves: Vec::new(),
            chosen: None,
            validation_masks: unused as u64,
            refined: None,
            temperatures: Vec::new(),
        };
        let mut counts = RefinedCounts::default();
        for member in members {
            counts.add(member.counts);
            trained.curves.extend(member.curves);
            trained.chosen = trained.chosen.or(member.chosen);
            trained.validation_masks = member.validation_masks.unwrap_or(trained.validation_masks);
            trained.temperatures.extend(member.temperature);
        }
        trained.refined = self.options.loss().refines().then_some(counts);
        Ok(trained)
    }

    /// Trains some members at the same time.
    fn train_members(&self, numbers: &[usize]) -> Vec<Result<TrainedMember>> {
        let member = |at: usize| {
            // An odd factor spreads the members over all seeds; the first has the head's own.
            let shift = (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let seed = self.options.seed.wrapping_add(shift);
            self.train_member(Member { at, seed })
        };
        let [first, others @ ..] = numbers else {
            return Vec::new();
        };
        std::thread::scope(|scope| {
            let member = &member;
            let others = others.iter().map(|at| scope.spawn(move || member(*at)));
            let others: Vec<_> = others.collect();
            let first = member(*first);
            let others = others
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
            std::iter::once(first).chain(others).collect()
        })
    }

    /// Trains one member.
    fn train_member(&self, member: Member) -> Result<TrainedMember> {
        let mut trained = TrainedMember::default();
        if self.options.loss() == Loss::Masks {
            let of_labels = Refinement::of_labels(self);
            trained.validation_masks = Some(of_labels.validation_masks());
            let last = of_labels.run(member, &mut trained.curves)?;
            return self.with_last(trained, last);
        }
        let (teacher, mut chosen) = self.phase(Phase::Teacher, member, &[], &mut trained.curves)?;
        trained.teacher = Some(self.weights(&teacher)?);
        let mut picks = teacher;
        if self.options.loss().distills() {
            let bad = self.bad_masks(&picks)?;
            let (student, of_student) =
                self.phase(Phase::Student, member, &bad, &mut trained.curves)?;
            chosen = of_student;
            trained.student = Some(self.weights(&student)?);
            picks = student;
        }
        if self.options.loss().refines() {
            let pick = self.pick_masks.ok_or(Error::Internal {
                what: "a head is to be refined, and nothing picks its masks",
            })?;
            let refinement = Refinement::new(self, &picks, pick)?;
            trained.counts = refinement.counts();
            let refined = refinement.run(member, &mut trained.curves)?;
            return self.with_last(trained, refined);
        }
        trained.chosen = Some(chosen);
        Ok(trained)
    }

    /// A member with a head that was trained on single masks.
    fn with_last(&self, mut trained: TrainedMember, last: Refined) -> Result<TrainedMember> {
        let weights = self.weights(&last.head)?;
        trained.last = Some(weights.at_temperature(last.temperature));
        trained.temperature = Some(last.temperature);
        trained.chosen = Some(last.chosen);
        Ok(trained)
    }

    /// Images of an epoch; labelled masks count as the images whose steps they fill.
    pub(super) fn images_per_epoch(&self) -> usize {
        if self.options.loss() == Loss::Masks {
            masks_as_images(self.bags.labelled.len())
        } else {
            self.split.images_per_epoch()
        }
    }

    /// A head's weights, with the statistics by which its inputs are normalised.
    fn weights(&self, head: &Head) -> Result<HeadWeights> {
        Ok(HeadWeights::of(head)?.with_standards(&self.bags.normaliser))
    }

    pub(super) fn epochs(&self) -> usize {
        self.options.epochs.unwrap_or(1)
    }

    /// The weights that a phase starts from.
    pub(super) fn start(
        &self,
        spec: &HeadSpec,
        member: Member,
        random: &mut fastrand::Rng,
    ) -> Head {
        let weights = match self.start {
            Some(start) => start.of(spec, member.at),
            None => HeadWeights::random(spec, random.u64(..)),
        };
        let weights = match self.options.initial_noise {
            noise if noise > 0.0 => weights.jittered(noise, self.options.noise_seed),
            _ => weights,
        };
        weights.on(self.device)
    }

    /// Whether labelled masks are in the loss of a phase: those of the head that is trained last, not of its teacher, which
    /// only says which masks are bad.
    fn learns_masks(&self, phase: Phase) -> bool {
        phase != Phase::Teacher || !self.options.loss().distills()
    }

    /// The shape of a head of a phase.
    pub(super) fn spec_of(&self, phase: Phase) -> HeadSpec {
        let teaches = phase == Phase::Teacher && self.options.loss().distills();
        HeadSpec {
            background: self.spec.background && !teaches,
            ..self.spec.clone()
        }
    }

    /// Weight of the labelled masks' loss. Few masks, which the head would learn by heart, weigh less.
    fn lambda_masks(&self) -> f64 {
        let share = self.bags.labelled.len() as f64 / ENOUGH_LABELS;
        self.options.lambda_masks * share.min(1.0)
    }

    /// Labelled masks that are trained on: those of validation images are not.
    pub(super) fn labelled_to_train(&self) -> impl Iterator<Item = &LabelledMask> {
        self.bags.labelled.iter().filter(|mask| {
            let bag = self.bags.bag_of(&mask.image_id);
            bag.is_none_or(|bag| self.split.validation.binary_search(&bag).is_err())
        })
    }

    /// Draws labelled masks for a phase; `None` if it has no use for them.
    fn labelled(&self, phase: Phase, seed: u64) -> Option<LabelledDraw> {
        if !self.learns_masks(phase) {
            return None;
        }
        let (classes, balance) = (self.spec.classes.len(), self.options.balance);
        let draw = LabelledDraw::new(self.labelled_to_train(), classes, balance, seed);
        (!draw.is_empty()).then_some(draw)
    }

    /// Trains teacher or student; returns the head and the epoch that it comes from. `bad` is true for each row of the
    /// embeddings whose mask is uncertain or rejected by the teacher.
    fn phase(
        &self,
        phase: Phase,
        member: Member,
        bad: &[bool],
        curves: &mut Vec<Curve>,
    ) -> Result<(Head, Curve)> {
        let mut random = member.random(phase);
        let spec = self.spec_of(phase);
        let head = self.start(&spec, member, &mut random);
        let mut optimizer = HeadOptimizer::new(&head);
        let best = Best::new(self.options, self.split.can_choose());
        let mut labelled = self.labelled(phase, random.u64(..));
        self.over_epochs(phase, member, head, best, curves, |head| {
            let order = self.split.draw_epoch(&mut random);
            let dropout = Dropout::of(&spec, random.u64(..));
            let sums = self.epoch(
                head,
                &mut optimizer,
                &order,
                dropout,
                bad,
                labelled.as_mut(),
            )?;
            Ok((sums, self.validate(head)?))
        })
    }

    /// Trains a head epoch by epoch, each with `train`, which returns sums over its steps, and loss and accuracy of the
    /// validation; returns the head that is kept and its epoch.
    pub(super) fn over_epochs(
        &self,
        phase: Phase,
        member: Member,
        mut head: Head,
        mut best: Best,
        curves: &mut Vec<Curve>,
        mut train: impl FnMut(&mut Head) -> Result<(Sums, Option<(f64, f64)>)>,
    ) -> Result<(Head, Curve)> {
        for epoch in 1..=self.epochs() {
            if self.progress.is_given_up() {
                return Err(Error::GivenUp);
            }
            let started = std::time::Instant::now();
            let (sums, validation) = train(&mut head)?;
            let steps = sums.steps.max(1.0);
            let curve = Curve {
                phase,
                member: member.at,
                epoch,
                loss: sums.loss / steps,
                mil: sums.mil / steps,
                uncertainty: (phase == Phase::Student).then_some(sums.uncertainty / steps),
                masks: (sums.masks > 0.0).then_some(sums.masks / steps),
                validation_loss: validation.map(|(loss, _)| loss),
                validation_accuracy: validation.map(|(_, accuracy)| accuracy),
                seconds: started.elapsed().as_secs_f64(),
            };
            self.progress.status(&curve.to_string());
            curves.push(curve.clone());
            if best.ends(&head, curve) {
                let left = self.epochs() - epoch;
                self.progress
                    .advance((left * self.images_per_epoch()) as u64);
                break;
            }
        }
        best.chosen()
    }

    fn epoch(
        &self,
        head: &mut Head,
        optimizer: &mut HeadOptimizer,
        order: &[usize],
        dropout: Dropout,
        bad: &[bool],
        labelled: Option<&mut LabelledDraw>,
    ) -> Result<Sums> {
        let mut sums = Sums::default();
        let count = LABELLED_PER_IMAGE * self.options.batch_images;
        let batches = order.chunks(self.options.batch_images);
        over_batches(
            self.bags,
            &self.split.weights,
            batches,
            Some(dropout),
            labelled.map(|draw| Added { draw, count }),
            |batch| {
                if self.progress.is_given_up() {
                    return Err(Error::GivenUp);
                }
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
        let (masks, of_bags) = (batch.rows.len(), batch.masks_of_bags());
        let dropout = batch.dropout.map(|values| self.factors(values, masks));
        let embeddings = self.tensor(batch.embeddings, masks);
        let pick = self.options.pick;
        let activations = head.run(embeddings, dropout, pick);
        let values = numbers(activations.logits.clone())?;
        let logits = self.logits(&values, head.outputs());
        let clean = match pick {
            Pick::Clean => Some(numbers(activations.clean.clone())?),
            Pick::Noisy => None,
        };
        let picks = self.logits(clean.as_ref().unwrap_or(&values), head.outputs());
        let mut total = mil_loss_picked(&logits, &picks, &batch.bags, |d| self.options.k(d));
        sums.mil += total.loss;
        if !bad.is_empty() {
            let is_bad = |row: &u32| bad.get(*row as usize) == Some(&true);
            let bad_here = batch.rows.iter().take(of_bags).enumerate();
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
        if !batch.known.is_empty() {
            // Labels of few classes say nothing of the others, which would be pushed down by them.
            let all = logits.of_all_outputs();
            let known = known_loss(&all, of_bags, &batch.known, &batch.left_out);
            sums.masks += known.loss;
            total = total.plus(1.0, &known, self.lambda_masks());
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
        let outputs = loss.gradient.len() / loss.looked_at.len().max(1);
        let looked_at = loss.looked_at.iter().filter(|looked_at| **looked_at);
        let all = looked_at.count() as f64 >= LOOKED_AT_SHARE * loss.looked_at.len() as f64;
        let mut rows = Vec::with_capacity(loss.looked_at.len());
        let mut gradients = Vec::with_capacity(loss.gradient.len());
        let masks = loss
            .looked_at
            .iter()
            .zip(loss.gradient.chunks_exact(outputs.max(1)));
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
            None,
            |mut batch| {
                let values = self.predict(head, &mut batch)?;
                let logits = self.logits(&values, head.outputs());
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
            None,
            |mut batch| {
                let values = self.predict(teacher, &mut batch)?;
                let logits = self.logits(&values, teacher.outputs());
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
    pub(super) fn predict(&self, head: &Head, batch: &mut Batch) -> Result<Vec<f32>> {
        let embeddings = std::mem::take(&mut batch.embeddings);
        numbers(head.forward(self.tensor(embeddings, batch.rows.len())))
    }

    /// Factors of dropout as a tensor, `[masks, width of the last hidden layer]`.
    pub(super) fn factors(&self, values: Vec<f32>, masks: usize) -> Tensor<2> {
        let width = values.len() / masks.max(1);
        Tensor::from_data(TensorData::new(values, [masks, width]), self.device)
    }

    pub(super) fn tensor(&self, embeddings: Vec<f32>, masks: usize) -> Tensor<2> {
        let shape = [masks, self.spec.embedding_dim];
        Tensor::from_data(TensorData::new(embeddings, shape), self.device)
    }

    /// The logits of the classes, or of the only class and none, among so many outputs.
    pub(super) fn logits<'a>(&self, values: &'a [f32], outputs: usize) -> Logits<'a> {
        Logits {
            values,
            outputs,
            classes: self.spec.classes.len(),
            none_class: self.spec.has_none_class(),
        }
    }
}

pub(super) fn numbers(tensor: Tensor<2>) -> Result<Vec<f32>> {
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
