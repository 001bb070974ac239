//! The shape of a head and how it is trained: everything that affects the weights.

use serde::{Deserialize, Serialize};

use crate::options::one_of;
use crate::{Error, Result};

/// The shape of a head: an MLP from a mask's embedding to one number per class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadSpec {
    /// Numbers that the head reads of a mask: those of all inputs.
    pub embedding_dim: usize,
    /// Numbers of each input, in order; empty for a single one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<usize>,
    /// Widths of the hidden layers, each followed by ReLU (paper: 512, 256, 128).
    pub hidden: Vec<usize>,
    /// Probability that a unit of the last hidden layer is dropped while training (paper: 0.9).
    pub dropout: f64,
    /// Names of the classes, in the order of the outputs.
    pub classes: Vec<String>,
}

impl HeadSpec {
    /// The paper's head for embeddings of a given length and the given classes.
    pub fn new(embedding_dim: usize, classes: Vec<String>) -> Self {
        Self {
            embedding_dim,
            blocks: Vec::new(),
            hidden: vec![512, 256, 128],
            dropout: 0.9,
            classes,
        }
    }

    /// The paper's head for several inputs of the given lengths.
    pub fn of_inputs(dims: &[usize], classes: Vec<String>) -> Self {
        let blocks = match dims {
            [_] => Vec::new(),
            several => several.to_vec(),
        };
        Self {
            blocks,
            ..Self::new(dims.iter().sum(), classes)
        }
    }

    /// Numbers of each input, in order.
    pub fn input_dims(&self) -> &[usize] {
        match &self.blocks[..] {
            [] => std::slice::from_ref(&self.embedding_dim),
            several => several,
        }
    }

    /// Whether the head has an implicit second class whose logit is always 0: a head of a single class has one, because
    /// a softmax over one class has no gradient.
    pub fn has_none_class(&self) -> bool {
        self.classes.len() == 1
    }

    /// Widths of all layers, from the embedding to the outputs.
    pub fn widths(&self) -> Vec<usize> {
        let mut widths = vec![self.embedding_dim];
        widths.extend(&self.hidden);
        widths.push(self.classes.len());
        widths
    }
}

/// The loss that a head is trained with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Loss {
    /// Multiple-instance loss only.
    #[serde(rename = "mil")]
    Mil,
    /// A teacher trained with multiple-instance loss, then a student trained with uncertainty distillation.
    #[default]
    #[serde(rename = "mil+distill")]
    MilDistill,
}

impl Loss {
    const WORDS: [(&'static str, Self); 2] =
        [("mil", Self::Mil), ("mil+distill", Self::MilDistill)];
}

impl std::str::FromStr for Loss {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        one_of("loss", text, &Self::WORDS)
    }
}

/// Steps of training if the number of epochs is not given; `docs/train.md` explains the number.
pub const STEPS: usize = 200;

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

/// How a head is trained. The defaults, except for `balance`, are the paper's where it gives them; `docs/train.md`
/// explains how the others were found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainOptions {
    /// The loss to train with.
    pub loss: Loss,
    /// The paper's `a`: a class's score is the mean over the best `max(1, ceil(d / a))` of `d` masks.
    pub a: f64,
    /// Entropy above which a teacher's prediction is uncertain, as a fraction of ln C.
    pub entropy_fraction: f64,
    /// Weight of the student's multiple-instance loss (paper: 1).
    pub lambda_mil: f64,
    /// Weight of the student's uncertainty loss (paper: 0.15).
    pub lambda_unc: f64,
    /// Passes over the images, for the teacher and again for the student; `None` for as many as give 200 steps, and at
    /// least 4 (a head that continues from another: 40 steps, and at least 2).
    pub epochs: Option<usize>,
    /// Passes without a better validation loss after which training ends; 0 never ends it early; `None` means half of
    /// the epochs, at least 3.
    pub patience: Option<usize>,
    /// Images per step (paper: 64).
    pub batch_images: usize,
    /// Step size of Adam (paper: 0.001).
    pub learning_rate: f64,
    /// Fraction of the images that is used only for validation, in [0, 1).
    pub validation: f64,
    /// How training balances classes of unequal size.
    pub balance: Balance,
    /// Seed of the weights, the order of images, dropout and the choice of validation images; below 2^63, the limit of
    /// the store's column.
    pub seed: u64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            loss: Loss::default(),
            a: 20.0,
            entropy_fraction: 0.5,
            lambda_mil: 1.0,
            lambda_unc: 0.15,
            epochs: None,
            patience: None,
            batch_images: 64,
            learning_rate: 1e-3,
            validation: 0.1,
            balance: Balance::default(),
            seed: 0,
        }
    }
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

    /// Fills in the options that are left open, for a given number of images per epoch.
    ///
    /// The number of epochs is chosen to give 200 steps, and is at least 4: few images need many passes, many
    /// images need few. A head that continues from another one needs a fifth of the steps, and at least 2 epochs.
    #[must_use]
    pub(super) fn resolved(self, images: usize, goes_on: bool) -> Self {
        let steps = images.div_ceil(self.batch_images).max(1);
        let (wanted, least) = if goes_on { (STEPS / 5, 2) } else { (STEPS, 4) };
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
        let epochs = |images, goes_on| {
            let options = TrainOptions::default().resolved(images, goes_on);
            (options.epochs.unwrap(), options.patience.unwrap())
        };
        assert_eq!(
            [epochs(60, false), epochs(4000, false)],
            [(200, 100), (4, 3)]
        );
        assert_eq!([epochs(60, true), epochs(4000, true)], [(40, 20), (2, 3)]);
        let given = TrainOptions {
            epochs: Some(7),
            ..TrainOptions::default()
        };
        assert_eq!(given.resolved(60, false).epochs, Some(7));
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
