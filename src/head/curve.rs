//! The course of training: metrics of epochs, and which epoch is kept.

use serde::{Deserialize, Serialize};

use super::model::Head;
use super::train_options::{Keep, TrainOptions};
use super::unusable::{IN_TRAINING, unusable};
use crate::Result;
use crate::options::is_default;

/// Which model is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The teacher, trained with multiple-instance loss only.
    Teacher,
    /// The student, trained with uncertainty distillation.
    Student,
    /// The refined head, trained on the masks that the student picks.
    Refined,
    /// The head that is trained on labelled masks alone.
    Masks,
}

impl Phase {
    /// The phase in words.
    pub fn word(self) -> &'static str {
        match self {
            Self::Teacher => "teacher",
            Self::Student => "student",
            Self::Refined => "refined",
            Self::Masks => "masks",
        }
    }
}

/// Metrics of one epoch, a pass over the images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The model that was trained.
    pub phase: Phase,
    /// The member of the head, from 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub member: usize,
    /// Number of the epoch, from 1.
    pub epoch: usize,
    /// Mean loss of its steps.
    pub loss: f64,
    /// Mean multiple-instance loss of its steps; for a refined head, mean cross entropy of its masks.
    pub mil: f64,
    /// Mean uncertainty loss of its steps; `None` but for a student.
    pub uncertainty: Option<f64>,
    /// Mean loss of labelled masks of its steps, beside that of images; `None` if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masks: Option<f64>,
    /// Mean multiple-instance loss over the validation images; for a refined head, cross entropy of the masks that the
    /// student picks in them, objects and background counting half each. `None` if there are none.
    pub validation_loss: Option<f64>,
    /// Fraction of the validation images whose most probable class is one of their classes; for a refined head, of those
    /// masks. `None` if there are none.
    pub validation_accuracy: Option<f64>,
    /// Wall-clock time in seconds.
    pub seconds: f64,
}

impl Curve {
    /// The stretches of curves that are of one head: of one phase and member.
    pub(crate) fn stretches(curves: &[Self]) -> Vec<std::ops::Range<usize>> {
        let mut from = 0;
        let heads = curves.chunk_by(|a, b| (a.phase, a.member) == (b.phase, b.member));
        heads
            .map(|head| {
                let stretch = from..from + head.len();
                from = stretch.end;
                stretch
            })
            .collect()
    }
}

impl std::fmt::Display for Curve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let phase = self.phase.word();
        match self.member {
            0 => write!(f, "{phase} epoch {}", self.epoch)?,
            member => write!(f, "member {}, {phase} epoch {}", member + 1, self.epoch)?,
        }
        write!(f, ": loss {:.4}", self.loss)?;
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

/// Which of the epochs so far is kept, and when training ends.
pub(super) struct Best {
    keep: Keep,
    patience: usize,
    chosen: Option<(Head, Curve)>,
    least: f64,
    since: usize,
}

impl Best {
    /// Nothing is kept yet. `can_choose` says whether there is enough to validate on.
    pub fn new(options: &TrainOptions, can_choose: bool) -> Self {
        Self {
            keep: if can_choose { options.keep } else { Keep::Last },
            patience: options.patience.unwrap_or(0),
            chosen: None,
            least: f64::INFINITY,
            since: 0,
        }
    }

    /// Takes the head after an epoch; returns whether training is to end.
    pub fn ends(&mut self, head: &Head, curve: Curve) -> bool {
        let loss = curve.validation_loss.filter(|_| self.keep == Keep::Best);
        if self.chosen.is_none() || loss.is_none_or(|loss| loss < self.least) {
            self.chosen = Some((head.clone(), curve));
            self.least = loss.unwrap_or(self.least);
            self.since = 0;
            return false;
        }
        self.since += 1;
        self.patience > 0 && self.since >= self.patience
    }

    /// The kept head and its epoch.
    pub fn chosen(self) -> Result<(Head, Curve)> {
        self.chosen
            .ok_or_else(|| unusable(IN_TRAINING, "it was given no epochs"))
    }
}
