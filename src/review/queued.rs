//! Queues by name, and the masks in them.

use serde::{Deserialize, Serialize};

use crate::ids::{ExtractorId, ImageId};
use crate::neighbours::SearchedTable;
use crate::options::one_of;
use crate::selection::ImageFilter;
use crate::{Error, Result};

/// An order of masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueKind {
    /// Those that a head is least sure of.
    Uncertain,
    /// Those nearest to the score from which on masks are kept.
    Threshold,
    /// Those on which the members of a head disagree.
    Disagreement,
    /// Those on which several passes with dropout disagree.
    Dropout,
    /// Those that show a class that their image is not labelled with.
    ImageLabelErrors,
    /// Those whose own label the head contradicts.
    MaskLabelErrors,
    /// Those least like all that were looked at.
    Centres,
    /// Any.
    Random,
    /// Any, of an extractor: the only queue that needs no head.
    Unlabelled,
}

impl QueueKind {
    const WORDS: [(&'static str, Self); 9] = [
        ("uncertain", Self::Uncertain),
        ("threshold", Self::Threshold),
        ("disagreement", Self::Disagreement),
        ("dropout", Self::Dropout),
        ("image-label-errors", Self::ImageLabelErrors),
        ("mask-label-errors", Self::MaskLabelErrors),
        ("centres", Self::Centres),
        ("random", Self::Random),
        ("unlabelled", Self::Unlabelled),
    ];

    /// Whether a head orders the masks.
    pub fn needs_head(self) -> bool {
        self != Self::Unlabelled
    }

    /// Its name.
    pub fn word(self) -> &'static str {
        let known = Self::WORDS.iter().find(|(_, kind)| *kind == self);
        known.map_or("", |(word, _)| word)
    }

    /// The query that orders the masks; `None` where vectors do.
    pub(super) fn query(self) -> Option<&'static str> {
        Some(match self {
            Self::Uncertain => "review/queue_uncertain",
            Self::Threshold => "review/queue_threshold",
            Self::Disagreement | Self::Dropout => "review/queue_disagreement",
            Self::ImageLabelErrors => "review/queue_image_label_errors",
            Self::MaskLabelErrors => "review/queue_mask_label_errors",
            Self::Random => "review/queue_random",
            Self::Unlabelled => "review/queue_unlabelled",
            Self::Centres => return None,
        })
    }
}

impl std::str::FromStr for QueueKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        one_of("queue", text, &Self::WORDS)
    }
}

/// Which masks are asked for.
#[derive(Debug, Clone)]
pub struct QueueRequest {
    /// The order.
    pub kind: QueueKind,
    /// Name or id of the head; `None` only for [`QueueKind::Unlabelled`].
    pub head: Option<String>,
    /// First digits of the id of the extractor, for [`QueueKind::Unlabelled`]; `None` for the only one.
    pub extractor: Option<String>,
    /// Id of the policy that its predictions were made under; `None` for the one used last.
    pub policy: Option<String>,
    /// Filter for the images.
    pub images: ImageFilter,
    /// Maximum number of masks.
    pub count: usize,
    /// Vectors by which centres are chosen; `None` for those that the head reads.
    pub vectors: Option<SearchedTable>,
    /// Seed of random choices.
    pub seed: u64,
}

/// A mask that is worth a look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueuedMask {
    /// Id of the image.
    pub image_id: ImageId,
    /// Extractor of the mask.
    pub extractor_id: ExtractorId,
    /// `masks.mask_index`.
    pub mask_index: i32,
    /// The class that the head predicts, if it does.
    pub class: Option<String>,
    /// The greater, the sooner it comes; in the queue's own unit.
    pub priority: f64,
    /// Why it is in the queue, in words.
    pub why: String,
}
