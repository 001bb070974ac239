//! A mask that was generated.

use super::grid::Crop;
use crate::geometry::{BBox, Rle};

/// One mask of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratedMask {
    /// The mask, at the size of the image.
    pub rle: Rle,
    /// The model's own estimate of its quality, about [0, 1].
    pub predicted_iou: f32,
    /// IoU of the mask at two thresholds, [0, 1].
    pub stability_score: f32,
    /// The prompt: x and y in pixels of the image.
    pub point: [f64; 2],
    /// The crop that it was generated in.
    pub crop: Crop,
    /// Index of the decoder's output: 0 for the single-mask output, 1..=3 for the multimask outputs.
    pub mask_output: usize,
    /// Logit of whether there is an object at the point, which SAM 2 gives.
    pub object_score: Option<f32>,
    /// All of the decoder's mask tokens for the prompt, flattened: outputs x token width.
    pub embedding: Vec<f32>,
    /// The image embedding, averaged under the mask, if it was asked for; `None` also for an empty mask.
    pub neck: Option<Vec<f32>>,
}

impl GeneratedMask {
    /// The token of the mask's own output; `width` is that of a token.
    pub fn token(&self, width: usize) -> Option<&[f32]> {
        let start = self.mask_output.checked_mul(width)?;
        self.embedding.get(start..start.checked_add(width)?)
    }

    /// The mask's box as upstream computes it: XYXY with the last column and row inclusive; all 0 if the mask is empty.
    pub(super) fn inclusive_box(&self) -> BBox {
        let bbox = self.rle.bbox();
        if self.rle.is_empty() {
            BBox::from_xyxy([0.0; 4])
        } else {
            BBox {
                width: bbox.width - 1.0,
                height: bbox.height - 1.0,
                ..bbox
            }
        }
    }
}
