//! How a head is trained: every option that affects the weights.

use serde::{Deserialize, Serialize};

use super::loss::Loss;
use crate::options::{is_default, one_of};
use crate::{Error, Result};

/// Steps of a phase of training for each class if the number of epochs is not given, and their limits; `docs/train.md`
/// explains the numbers.
const STEPS_PER_CLASS: usize = 100;
const MIN_STEPS: usize = 200;
const MAX_STEPS: usize = 2000;
/// Passes over the images after which more steps learn them by heart, unless there are too few for the least steps.
const MAX_PASSES: usize = 40;

/// Limits on what a file of weights may be made to hold.
const MAX_WIDTH: usize = 65536;
const MAX_MEMBERS: usize = 64;

/// Which masks of an image are picked as the best of each class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pick {
    /// Those with the greatest logits without dropout; the gradient still goes through it. With a dropout of 0.9, most
    /// of the greatest logits are chance.
    #[default]
    Clean,
    /// Those with the greatest logits with dropout, as in the paper.
    Noisy,
}

impl Pick {
    const WORDS: [(&'static str, Self); 2] = [("clean", Self::Clean), ("noisy", Self::Noisy)];
}

impl std::str::FromStr for Pick {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        one_of("pick", text, &Self::WORDS)
    }
}

/// Which epoch's weights are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// The last.
    #[default]
    Last,
    /// The one with the least validation loss, if at least 20 images validate; else the last.
    Best,
}

impl Keep {
    const WORDS: [(&'static str, Self); 2] = [("last", Self::Last), ("best", Self::Best)];
}

impl std::str::FromStr for Keep {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        one_of("epoch to keep", text, &Self::WORDS)
    }
}

/// A set of options under one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recipe {
    /// The program's own, which holds best where it was measured (docs/train.md).
    #[default]
    Default,
    /// The paper's, with a = 8 as in W-TALC's published code, from which its loss comes. Maps of such a head are painted, unless another
    /// rule is given.
    Paper,
}

impl Recipe {
    const WORDS: [(&'static str, Self); 2] = [("default", Self::Default), ("paper", Self::Paper)];

    /// Its options.
    pub fn options(self) -> TrainOptions {
        match self {
            Self::Default => TrainOptions::default(),
            Self::Paper => TrainOptions {
                loss: Some(Loss::MilDistill),
                a: 8.0,
                pick: Pick::Noisy,
                balance: Balance::None,
                recipe: self,
                ..TrainOptions::default()
            },
        }
    }
}

impl std::str::FromStr for Recipe {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        one_of("recipe", text, &Self::WORDS)
    }
}

/// How training balances classes of unequal size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Balance {
    /// No balancing: every image counts once, as in the paper.
    None,
    /// Images are weighted by how rare their classes are; images of equally frequent classes count once.
    #[default]
    Weights,
    /// Images are drawn by how rare their classes are.
    Sampling,
}

impl Balance {
    const WORDS: [(&'static str, Self); 3] = [
        ("none", Self::None),
        ("weights", Self::Weights),
        ("sampling", Self::Sampling),
    ];
}

impl std::str::FromStr for Balance {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        one_of("balance", text, &Self::WORDS)
    }
}

/// How a head is trained; `docs/train.md` explains how the defaults were found.
///
/// A spec that was stored before an option existed is read as what was done then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainOptions {
    /// The recipe that the options began as.
    #[serde(default, skip_serializing_if = "is_default")]
    pub recipe: Recipe,
    /// The loss to train with; `None` for [`Loss::MilDistill`] or, where only masks are labelled, [`Loss::Masks`].
    pub loss: Option<Loss>,
    /// Widths of the hidden layers (paper: 512, 256, 128).
    #[serde(default = "earlier::hidden")]
    pub hidden: Vec<usize>,
    /// Probability that a unit of the last hidden layer is dropped, in [0, 1), in teachers and students (paper: 0.9).
    #[serde(default = "earlier::dropout")]
    pub dropout: f64,
    /// Which masks are picked as the best of each class.
    #[serde(default = "earlier::pick")]
    pub pick: Pick,
    /// The paper's `a`: a class's score is the mean over the best `max(1, ceil(d / a))` of `d` masks.
    pub a: f64,
    /// Entropy above which a teacher's prediction is uncertain, as a fraction of ln C.
    pub entropy_fraction: f64,
    /// Weight of the student's multiple-instance loss (paper: 1).
    pub lambda_mil: f64,
    /// Weight of the student's uncertainty loss (paper: 0.15).
    pub lambda_unc: f64,
    /// Weight of the labelled masks' loss beside that of images; with fewer than 300 of them less, in proportion.
    #[serde(default = "earlier::lambda_masks")]
    pub lambda_masks: f64,
    /// Share of the labelled masks in a step of refinement, in [0, 1]; the others are those that the student picks.
    #[serde(default = "earlier::label_share")]
    pub label_share: f64,
    /// Probability that a unit of the last hidden layer is dropped while a head is refined, or trained on labelled masks
    /// alone, in [0, 1).
    #[serde(default = "earlier::refine_dropout")]
    pub refine_dropout: f64,
    /// Passes over the images, for each of teacher, student and refined head; `None` for as many as give 100 steps a
    /// class, but 200 to 2,000 and, above 200, no more than 40 passes; and at least 4 passes (a head that continues from
    /// another: a fifth of the steps, and at least 2 passes).
    pub epochs: Option<usize>,
    /// Which epoch's weights are kept.
    #[serde(default = "earlier::keep")]
    pub keep: Keep,
    /// With [`Keep::Best`]: passes without a better validation loss after which training ends; 0 never ends it early;
    /// `None` means half of the epochs, at least 3.
    pub patience: Option<usize>,
    /// Images per step (paper: 64). A step of refinement takes 16 masks for each.
    pub batch_images: usize,
    /// Step size of Adam (paper: 0.001).
    pub learning_rate: f64,
    /// Fraction of the images that is used only for validation, in [0, 1).
    pub validation: f64,
    /// How training balances classes of unequal size.
    pub balance: Balance,
    /// Heads that are trained independently, and whose probabilities are averaged.
    #[serde(default = "earlier::members")]
    pub members: usize,
    /// Relative noise on the initial weights, uniform within this number; 1e-7 shows how far rounding moves a head. For
    /// measurements only.
    #[serde(default, skip_serializing_if = "is_default")]
    pub initial_noise: f64,
    /// Seed of that noise.
    #[serde(default, skip_serializing_if = "is_default")]
    pub noise_seed: u64,
    /// Seed of the weights, the order of images, dropout and the choice of validation images; below 2^63, the limit of
    /// the store's column.
    pub seed: u64,
}

/// What was done before an option existed.
mod earlier {
    use super::{Keep, Pick};

    pub(super) fn hidden() -> Vec<usize> {
        vec![512, 256, 128]
    }

    pub(super) fn dropout() -> f64 {
        0.9
    }

    pub(super) fn pick() -> Pick {
        Pick::Noisy
    }

    pub(super) fn keep() -> Keep {
        Keep::Best
    }

    pub(super) fn refine_dropout() -> f64 {
        0.5
    }

    pub(super) fn members() -> usize {
        1
    }

    pub(super) fn lambda_masks() -> f64 {
        3.0
    }

    pub(super) fn label_share() -> f64 {
        0.5
    }
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            recipe: Recipe::default(),
            loss: None,
            hidden: vec![512, 256, 128],
            dropout: 0.9,
            pick: Pick::default(),
            a: 20.0,
            entropy_fraction: 0.5,
            lambda_mil: 1.0,
            lambda_unc: 0.15,
            lambda_masks: 3.0,
            label_share: 0.5,
            refine_dropout: 0.5,
            epochs: None,
            keep: Keep::default(),
            patience: None,
            batch_images: 64,
            learning_rate: 1e-3,
            validation: 0.1,
            balance: Balance::default(),
            members: 1,
            initial_noise: 0.0,
            noise_seed: 0,
            seed: 0,
        }
    }
}

/// Reads widths of hidden layers, such as `512,256,128`; `none` for a linear head.
///
/// # Errors
/// [`Error::InvalidOption`] for one that is no whole number.
pub fn parse_widths(text: &str) -> Result<Vec<usize>> {
    if text == "none" {
        return Ok(Vec::new());
    }
    text.split(',')
        .map(|width| {
            width.trim().parse().map_err(|_| Error::InvalidOption {
                what: "width of a hidden layer",
                value: width.trim().to_owned(),
                expected: "whole numbers with commas between them, such as 512,256,128, or none"
                    .to_owned(),
            })
        })
        .collect()
}

impl TrainOptions {
    /// Checks every option.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for the first option that is out of range.
    pub fn validate(&self) -> Result<()> {
        self.stored_seed()?;
        let finite = |x: f64| x.is_finite();
        let checks = [
            ("divisor a", self.a, self.a >= 1.0, "a number of at least 1"),
            (
                "entropy fraction",
                self.entropy_fraction,
                (0.0..=1.0).contains(&self.entropy_fraction),
                "a number from 0 to 1",
            ),
            (
                "lambda-mil",
                self.lambda_mil,
                self.lambda_mil >= 0.0,
                "a number of at least 0",
            ),
            (
                "lambda-unc",
                self.lambda_unc,
                self.lambda_unc >= 0.0,
                "a number of at least 0",
            ),
            (
                "lambda-masks",
                self.lambda_masks,
                self.lambda_masks >= 0.0,
                "a number of at least 0",
            ),
            (
                "share of labelled masks",
                self.label_share,
                (0.0..=1.0).contains(&self.label_share),
                "a number from 0 to 1",
            ),
            (
                "dropout",
                self.dropout,
                (0.0..1.0).contains(&self.dropout),
                "a number from 0 to below 1",
            ),
            (
                "refine dropout",
                self.refine_dropout,
                (0.0..1.0).contains(&self.refine_dropout),
                "a number from 0 to below 1",
            ),
            (
                "initial noise",
                self.initial_noise,
                (0.0..1.0).contains(&self.initial_noise),
                "a number from 0 to below 1",
            ),
            (
                "width of a hidden layer",
                self.hidden.iter().copied().min().unwrap_or(1) as f64,
                self.hidden
                    .iter()
                    .all(|width| (1..=MAX_WIDTH).contains(width)),
                "1 to 65536 units",
            ),
            (
                "number of members",
                self.members as f64,
                (1..=MAX_MEMBERS).contains(&self.members),
                "1 to 64",
            ),
            (
                "learning rate",
                self.learning_rate,
                self.learning_rate > 0.0,
                "a number above 0",
            ),
            (
                "validation share",
                self.validation,
                (0.0..1.0).contains(&self.validation),
                "a number from 0 to below 1",
            ),
            (
                "number of epochs",
                self.epochs.unwrap_or(1) as f64,
                self.epochs != Some(0),
                "at least 1",
            ),
            (
                "batch size",
                self.batch_images as f64,
                self.batch_images >= 1,
                "at least 1 image",
            ),
        ];
        match checks
            .iter()
            .find(|(_, value, good, _)| !(*good && finite(*value)))
        {
            None => Ok(()),
            Some((what, value, _, expected)) => Err(Error::InvalidOption {
                what,
                value: value.to_string(),
                expected: (*expected).to_owned(),
            }),
        }
    }

    /// The loss, or the default of heads that learn from images.
    pub fn loss(&self) -> Loss {
        self.loss.unwrap_or_default()
    }

    /// The seed in the type of the store's column.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if it is 2^63 or more, which the column cannot hold.
    pub fn stored_seed(&self) -> Result<i64> {
        i64::try_from(self.seed).map_err(|_| Error::InvalidOption {
            what: "seed",
            value: self.seed.to_string(),
            expected: format!("a whole number from 0 to {}", i64::MAX),
        })
    }

    /// Fills in the options that are left open, for a given number of images per epoch and of classes.
    ///
    /// The number of epochs is chosen to give a number of steps: few images need many passes, many images need few, and
    /// many classes need more steps than few. A head that continues from another one needs a fifth of the steps.
    #[must_use]
    pub(super) fn resolved(self, images: usize, classes: usize, goes_on: bool) -> Self {
        let steps = images.div_ceil(self.batch_images).max(1);
        let passes = MIN_STEPS.max(steps * MAX_PASSES);
        let all = (STEPS_PER_CLASS * classes)
            .clamp(MIN_STEPS, MAX_STEPS)
            .min(passes);
        let (wanted, least) = if goes_on { (all / 5, 2) } else { (all, 4) };
        let epochs = self.epochs.unwrap_or(wanted.div_ceil(steps).max(least));
        let patience = self.patience.unwrap_or((epochs / 2).max(3));
        Self {
            epochs: Some(epochs),
            patience: Some(patience),
            ..self
        }
    }

    /// The paper's `k` for a bag of `d` masks: `max(1, ceil(d / a))`, but at most `d`.
    pub fn k(&self, d: usize) -> usize {
        let k = (d as f64 / self.a).ceil() as usize;
        k.clamp(1, d.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k_at_the_edges() {
        let k = |a: f64, d| {
            TrainOptions {
                a,
                ..TrainOptions::default()
            }
            .k(d)
        };
        assert_eq!(
            [k(10.0, 100), k(10.0, 101), k(10.0, 9), k(10.0, 1)],
            [10, 11, 1, 1]
        );
        assert_eq!([k(1.0, 100), k(1.0, 1), k(1e9, 100)], [100, 1, 1]);
    }

    #[test]
    fn few_images_are_passed_often() {
        let epochs = |images, classes, goes_on| {
            let options = TrainOptions::default().resolved(images, classes, goes_on);
            (options.epochs.unwrap(), options.patience.unwrap())
        };
        assert_eq!(
            [
                epochs(60, 2, false),
                epochs(4000, 2, false),
                epochs(60, 5, false),
                epochs(4000, 80, false)
            ],
            [(200, 100), (4, 3), (200, 100), (32, 16)]
        );
        assert_eq!(
            [epochs(60, 2, true), epochs(4000, 2, true)],
            [(40, 20), (2, 3)]
        );
        let given = TrainOptions {
            epochs: Some(7),
            ..TrainOptions::default()
        };
        assert_eq!(given.resolved(60, 2, false).epochs, Some(7));
    }

    #[test]
    fn bad_options_are_named() {
        TrainOptions::default().validate().unwrap();
        let bad = TrainOptions {
            a: f64::NAN,
            ..TrainOptions::default()
        };
        assert!(
            bad.validate()
                .unwrap_err()
                .to_string()
                .contains("'NaN' is not a divisor a")
        );
        let bad = TrainOptions {
            validation: 1.0,
            ..TrainOptions::default()
        };
        assert!(
            bad.validate()
                .unwrap_err()
                .to_string()
                .contains("validation share")
        );
        let seeded = |seed| TrainOptions {
            seed,
            ..TrainOptions::default()
        };
        seeded(i64::MAX as u64).validate().unwrap();
        let message = seeded(1 << 63).validate().unwrap_err().to_string();
        assert!(
            message.contains("'9223372036854775808' is not a seed: expected a whole number from 0 to 9223372036854775807"),
            "{message}"
        );
        assert_eq!("mil+distill".parse::<Loss>().unwrap(), Loss::MilDistill);
        let message = "x".parse::<Balance>().unwrap_err().to_string();
        assert!(message.contains("none, weights or sampling"), "{message}");
    }
}
