//! What is said of one mask, and the row of `mask_labels` that says it.

use chrono::{DateTime, Utc};

use super::statement::{MaskKey, Origin, Verdict};
use crate::ids::{HeadId, MaskLabelId};
use crate::store::rows::MaskLabelRow;

/// What somebody answers about a mask that was shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The mask.
    pub mask: MaskKey,
    /// A source word; `None` with [`Verdict::Is`] for none of any class.
    pub label: Option<String>,
    /// What is said of the label.
    pub verdict: Verdict,
    /// Whether it was said of this mask, or spread from others.
    pub origin: Origin,
    /// The label that it was spread from.
    pub proof: Option<MaskLabelId>,
    /// Cosine similarity with the proof's mask, for one that was spread.
    pub score: Option<f32>,
    /// Lead of the score over the most similar mask of another label, for one that was spread.
    pub margin: Option<f32>,
    /// The queue that showed the mask.
    pub queue: Option<String>,
    /// The head whose prediction was shown.
    pub head_id: Option<HeadId>,
    /// Time from showing the mask to the answer, in seconds.
    pub seconds: Option<f64>,
}

impl Answer {
    /// Says no more than a verdict without a label.
    pub fn new(mask: MaskKey, verdict: Verdict, origin: Origin) -> Self {
        Self {
            mask,
            label: None,
            verdict,
            origin,
            proof: None,
            score: None,
            margin: None,
            queue: None,
            head_id: None,
            seconds: None,
        }
    }

    /// The row that says so, by a reviewer, at a time.
    pub(super) fn into_row(
        self,
        reviewer: Option<String>,
        created_at: DateTime<Utc>,
    ) -> MaskLabelRow {
        with_id(MaskLabelRow {
            mask_label_id: MaskLabelId::of_bytes(b""),
            extractor_id: self.mask.extractor_id,
            image_id: self.mask.image_id,
            mask_index: self.mask.mask_index,
            label: self.label,
            verdict: self.verdict.word().to_owned(),
            origin: self.origin.word().to_owned(),
            proof: self.proof,
            score: self.score,
            margin: self.margin,
            reviewer,
            queue: self.queue,
            head_id: self.head_id,
            seconds: self.seconds,
            created_at,
        })
    }
}

/// A row with the id of its content.
pub(super) fn with_id(row: MaskLabelRow) -> MaskLabelRow {
    let (mask_index, created_at) = (row.mask_index.to_string(), row.created_at.to_rfc3339());
    let seconds = row.seconds.map(|it| it.to_string());
    let [score, margin] = [row.score, row.margin].map(|it| it.map(|it| it.to_string()));
    // No label is not the label of no letters.
    let of = |text: Option<&str>| text.map_or("-".to_owned(), |text| format!("+{text}"));
    let parts = [
        row.extractor_id.to_string(),
        row.image_id.to_string(),
        mask_index,
        of(row.label.as_deref()),
        row.verdict.clone(),
        row.origin.clone(),
        of(row.proof.as_ref().map(|id| id.as_str())),
        of(score.as_deref()),
        of(margin.as_deref()),
        of(row.reviewer.as_deref()),
        of(row.queue.as_deref()),
        of(row.head_id.as_ref().map(|id| id.as_str())),
        of(seconds.as_deref()),
        created_at,
    ];
    MaskLabelRow {
        mask_label_id: MaskLabelId::of_parts(parts.iter().map(String::as_str)),
        ..row
    }
}
