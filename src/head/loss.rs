//! The losses that heads are trained with, by name.

use serde::{Deserialize, Serialize};

use crate::options::one_of;
use crate::{Error, Result};

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
    /// A teacher, then a head with an output for the background, trained on the masks that the teacher picks.
    #[serde(rename = "mil+refine")]
    MilRefine,
    /// A teacher, a student, then a head with an output for the background, trained on the masks that the student picks: instance
    /// refinement.
    #[serde(rename = "mil+distill+refine")]
    MilDistillRefine,
    /// Cross entropy of labelled masks alone.
    #[serde(rename = "masks")]
    Masks,
    /// A linear head over labelled masks alone, by least squares: one closed form, no steps.
    #[serde(rename = "linear")]
    Linear,
    /// The nearest mean of the labelled masks of each class, and of the background.
    #[serde(rename = "prototypes")]
    Prototypes,
}

impl Loss {
    const WORDS: [(&'static str, Self); 7] = [
        ("mil", Self::Mil),
        ("mil+distill", Self::MilDistill),
        ("mil+refine", Self::MilRefine),
        ("mil+distill+refine", Self::MilDistillRefine),
        ("masks", Self::Masks),
        ("linear", Self::Linear),
        ("prototypes", Self::Prototypes),
    ];

    /// Its name.
    pub fn word(self) -> &'static str {
        let known = Self::WORDS.iter().find(|(_, loss)| *loss == self);
        known.map_or("", |(word, _)| word)
    }

    /// Number of heads that are trained one after the other.
    pub(super) fn phases(self) -> usize {
        match self {
            Self::Mil | Self::Masks | Self::Linear | Self::Prototypes => 1,
            Self::MilDistill | Self::MilRefine => 2,
            Self::MilDistillRefine => 3,
        }
    }

    /// Whether there is a student.
    pub fn distills(self) -> bool {
        matches!(self, Self::MilDistill | Self::MilDistillRefine)
    }

    /// Whether it learns from labelled masks alone, not from what images show.
    pub fn needs_labelled_masks(self) -> bool {
        matches!(self, Self::Masks | Self::Linear | Self::Prototypes)
    }

    /// Whether the head is a closed form, which takes no steps.
    pub fn is_closed_form(self) -> bool {
        matches!(self, Self::Linear | Self::Prototypes)
    }

    /// Whether there is a refined head.
    pub fn refines(self) -> bool {
        matches!(self, Self::MilRefine | Self::MilDistillRefine)
    }
}

impl std::str::FromStr for Loss {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        one_of("loss", text, &Self::WORDS)
    }
}
