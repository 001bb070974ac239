//! What a head is, and how it is trained: everything that changes the weights.

use serde::{Deserialize, Serialize};

use crate::options::one_of;
use crate::{Error, Result};

/// The shape of a head: an MLP from a mask's embedding to one number per class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadSpec {
    /// Numbers of an embedding.
    pub embedding_dim: usize,
    /// Widths of the hidden layers, each followed by ReLU (paper: 512, 256, 128).
    pub hidden: Vec<usize>,
    /// Probability that a unit of the last hidden layer is dropped while training (paper: 0.9).
    pub dropout: f64,
    /// Names of the classes, in the order of the outputs.
    pub classes: Vec<String>,
}

impl HeadSpec {
    /// The paper's head for embeddings of so many numbers and these classes.
    pub fn new(embedding_dim: usize, classes: Vec<String>) -> Self {
        Self {
            embedding_dim,
            hidden: vec![512, 256, 128],
            dropout: 0.9,
            classes,
        }
    }

    /// Whether a class that is never named stands beside the one there is: with a softmax over one class
    /// nothing could be learnt, so a head of one class is one of two whose second output is always 0.
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

/// What a head is trained by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Loss {
    /// Multiple-instance loss alone.
    #[serde(rename = "mil")]
    Mil,
    /// A teacher by multiple-instance loss, then a student with uncertainty distillation.
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

/// Steps that a head is trained for unless its epochs are given; `docs/train.md` says why so many.
pub const STEPS: usize = 200;

/// What is done about classes of unequal size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Balance {
    /// Nothing: every image counts once, as in the paper.
    None,
    /// An image counts by how rare its classes are; images of even classes count once.
    #[default]
    Weights,
    /// An image is drawn by how rare its classes are.
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

/// How a head is trained. The defaults are the paper's where it gives them; `docs/train.md` says how the
/// others were found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainOptions {
    /// What it is trained by.
    pub loss: Loss,
    /// The paper's `a`: a class's score is the mean over the `max(1, ceil(d / a))` best of `d` masks.
    pub a: f64,
    /// Entropy above which a teacher's prediction of a mask is uncertain, as a fraction of ln C.
    pub entropy_fraction: f64,
    /// Weight of the multiple-instance loss of the student (paper: 1).
    pub lambda_mil: f64,
    /// Weight of its uncertainty loss (paper: 0.15).
    pub lambda_unc: f64,
    /// Passes over the images for the teacher, and again for the student; none: as [`Self::resolved`] says.
    pub epochs: Option<usize>,
    /// Passes without a better validation loss after which training ends; 0 never ends it early; none: half
    /// of the epochs, at least 3.
    pub patience: Option<usize>,
    /// Images a step (paper: 64).
    pub batch_images: usize,
    /// Step size of Adam (paper: 0.001).
    pub learning_rate: f64,
    /// Share of the images that only measure, in [0, 1).
    pub validation: f64,
    /// What is done about classes of unequal size.
    pub balance: Balance,
    /// Seed of weights, order, dropout and the choice of validation images; below 2^63, as the store keeps it.
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
    /// [`Error::InvalidOption`] naming the first that cannot be.
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

    /// The seed as the store keeps it.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if it is 2^63 or more, which a column of numbers cannot hold.
    pub fn stored_seed(&self) -> Result<i64> {
        i64::try_from(self.seed).map_err(|_| Error::InvalidOption {
            what: "seed",
            value: self.seed.to_string(),
            expected: format!("a whole number from 0 to {}", i64::MAX),
        })
    }

    /// The options with nothing left open, for so many images an epoch.
    ///
    /// Epochs are as many as make [`STEPS`] steps, at least 4: few images need many passes, many need few.
    /// A head that goes on from another needs a fifth of that, at least 2.
    #[must_use]
    pub fn resolved(self, images: usize, goes_on: bool) -> Self {
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

    /// The paper's `k` for a bag of `d` masks: `max(1, ceil(d / a))`, and no more than there are.
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
