//! What is said about a mask.

use serde::Deserialize;

use crate::Error;
use crate::ids::{ExtractorId, ImageId};
use crate::options::one_of;
use crate::store::rows::MaskLabelRow;

/// A mask's key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
pub struct MaskKey {
    /// `masks.extractor_id`.
    pub extractor_id: ExtractorId,
    /// `masks.image_id`.
    pub image_id: ImageId,
    /// `masks.mask_index`.
    pub mask_index: i32,
}

impl MaskKey {
    /// The key of the mask that a label is on.
    pub fn of(row: &MaskLabelRow) -> Self {
        Self {
            extractor_id: row.extractor_id.clone(),
            image_id: row.image_id.clone(),
            mask_index: row.mask_index,
        }
    }
}

/// What a statement says of its label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verdict {
    /// The mask shows the label; without a label, none of any class.
    #[default]
    Is,
    /// It does not show the label.
    IsNot,
    /// It is of no use, whatever the class.
    BadMask,
    /// Nothing: what the reviewer said before no longer counts.
    Undone,
}

impl Verdict {
    const WORDS: [(&'static str, Self); 4] = [
        ("is", Self::Is),
        ("is not", Self::IsNot),
        ("bad mask", Self::BadMask),
        ("undone", Self::Undone),
    ];

    /// The value of `mask_labels.verdict`.
    pub fn word(self) -> &'static str {
        let known = Self::WORDS.iter().find(|(_, verdict)| *verdict == self);
        known.map_or("", |(word, _)| word)
    }
}

impl std::str::FromStr for Verdict {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        one_of("verdict", text, &Self::WORDS)
    }
}

/// Where a statement comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A person said so.
    Review,
    /// Another mask's label, which its neighbours got.
    Propagated,
    /// Annotated objects that the mask overlaps.
    GroundTruth,
    /// A file.
    Import,
}

impl Origin {
    /// The value of `mask_labels.origin`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Review => "review",
            Self::Propagated => "propagated",
            Self::GroundTruth => "ground-truth",
            Self::Import => "import",
        }
    }
}

/// A statement about a mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The mask.
    pub mask: MaskKey,
    /// A source word; `None` with [`Verdict::Is`] for none of any class.
    pub label: Option<String>,
    /// What is said of the label.
    pub verdict: Verdict,
    /// Line of the file that it was read from.
    pub line: Option<u64>,
}
