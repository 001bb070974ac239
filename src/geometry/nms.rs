//! Greedy non-maximum suppression of masks and boxes. In: scores. Out: one outcome per candidate.

#![allow(
    clippy::indexing_slicing,
    reason = "an order is a permutation of the candidates it was made of"
)]

use super::bbox::BBox;
use super::merge::check_same_size;
use super::overlap::PreparedMask;
use super::rle::Rle;
use crate::error::{Error, Result};

/// The rules of suppression.
#[derive(Clone, Copy, Debug)]
pub struct NmsConfig<'a> {
    /// A candidate is suppressed if its IoU with a kept one is greater than this; in [0, 1].
    pub iou_threshold: f64,
    /// Class of each candidate. Only candidates of equal class suppress each other. If `None`, all are of one class.
    pub classes: Option<&'a [u32]>,
}

/// The outcome for a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NmsOutcome {
    /// It is kept.
    Kept,
    /// It is suppressed by the kept candidate with this index: the best-scored one among those that overlap it too
    /// much.
    SuppressedBy(usize),
}

/// Suppresses masks greedily by mask IoU. Returns one outcome per mask, in the given order.
///
/// Masks are taken by falling score, and by rising index for equal scores.
///
/// # Examples
/// ```
/// use grainstore::geometry::{NmsConfig, NmsOutcome, Rle, Size, mask_nms};
///
/// let size = Size { height: 4, width: 4 };
/// let masks = [
///     Rle::from_runs(size, vec![0, 8])?,
///     Rle::from_runs(size, vec![0, 6])?, // IoU with the first: 6 / 8
///     Rle::from_runs(size, vec![12, 4])?,
/// ];
/// let config = NmsConfig {
///     iou_threshold: 0.5,
///     classes: None,
/// };
/// let outcomes = mask_nms(&masks, &[0.8, 0.9, 0.5], &config)?;
/// assert_eq!(outcomes, [NmsOutcome::SuppressedBy(1), NmsOutcome::Kept, NmsOutcome::Kept]);
/// # Ok::<(), grainstore::Error>(())
/// ```
///
/// # Errors
/// [`Error::LengthMismatch`], [`Error::ScoreNotANumber`], [`Error::IouThreshold`];
/// [`Error::SizeMismatch`] unless all masks are of one size.
pub fn mask_nms(masks: &[Rle], scores: &[f64], config: &NmsConfig) -> Result<Vec<NmsOutcome>> {
    if let Some(first) = masks.first() {
        masks
            .iter()
            .try_for_each(|mask| check_same_size(first.size(), mask.size()))?;
    }
    let order = order(masks.len(), "masks", scores, config)?;
    let prepared: Vec<PreparedMask> = masks.iter().map(PreparedMask::new).collect();
    Ok(suppress(&prepared, &order, config, |a, b| a.iou(b)))
}

/// Suppresses boxes greedily by box IoU. Returns one outcome per box, in the given order.
///
/// The kept boxes, by falling score, are those that torchvision's `nms` returns (`batched_nms` with classes), computed
/// in f64.
///
/// # Errors
/// [`Error::LengthMismatch`], [`Error::ScoreNotANumber`], [`Error::IouThreshold`].
pub fn box_nms(boxes: &[BBox], scores: &[f64], config: &NmsConfig) -> Result<Vec<NmsOutcome>> {
    let order = order(boxes.len(), "boxes", scores, config)?;
    Ok(suppress(boxes, &order, config, |a, b| a.iou(*b)))
}

/// Checks the inputs and returns the indices of candidates by falling score.
fn order(
    candidates: usize,
    name: &'static str,
    scores: &[f64],
    config: &NmsConfig,
) -> Result<Vec<usize>> {
    check_length("scores", scores.len(), name, candidates)?;
    if let Some(classes) = config.classes {
        check_length("classes", classes.len(), name, candidates)?;
    }
    if !(0.0..=1.0).contains(&config.iou_threshold) {
        return Err(Error::IouThreshold {
            value: config.iou_threshold,
        });
    }
    if let Some(index) = scores.iter().position(|score| score.is_nan()) {
        return Err(Error::ScoreNotANumber { index });
    }
    let mut by_score: Vec<(usize, f64)> = scores.iter().copied().enumerate().collect();
    // The sort is stable, and without NaN every pair has an order.
    by_score.sort_by(|(_, a), (_, b)| b.partial_cmp(a).unwrap_or(std::cmp::Ordering::Equal));
    Ok(by_score.into_iter().map(|(index, _)| index).collect())
}

fn check_length(list: &'static str, found: usize, of: &'static str, expected: usize) -> Result<()> {
    if found != expected {
        return Err(Error::LengthMismatch {
            list,
            of,
            expected,
            found,
        });
    }
    Ok(())
}

fn suppress<T>(
    candidates: &[T],
    order: &[usize],
    config: &NmsConfig,
    iou: impl Fn(&T, &T) -> f64,
) -> Vec<NmsOutcome> {
    let class = |index: usize| config.classes.and_then(|classes| classes.get(index));
    let mut outcomes = vec![NmsOutcome::Kept; candidates.len()];
    let mut kept: Vec<usize> = Vec::new();
    for &index in order {
        let by = kept.iter().copied().find(|&other| {
            class(other) == class(index)
                && iou(&candidates[other], &candidates[index]) > config.iou_threshold
        });
        match by {
            Some(by) => outcomes[index] = NmsOutcome::SuppressedBy(by),
            None => kept.push(index),
        }
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use super::super::bbox::Size;
    use super::*;
    use NmsOutcome::{Kept, SuppressedBy};

    const ANY_CLASS: NmsConfig = NmsConfig {
        iou_threshold: 0.5,
        classes: None,
    };

    /// Rows `top..bottom` of a column of ten pixels.
    fn rows(top: u32, bottom: u32) -> Rle {
        let size = Size {
            height: 10,
            width: 1,
        };
        Rle::from_runs(size, vec![top, bottom - top]).unwrap()
    }

    fn row_box(top: f64, bottom: f64) -> BBox {
        BBox::from_xyxy([0.0, top, 1.0, bottom])
    }

    #[test]
    fn a_suppressed_mask_suppresses_nothing() {
        // 0 and 1 share 6 of 8 rows, 1 and 2 share 6 of 8, 0 and 2 share 5 of 9.
        let masks = [rows(0, 7), rows(1, 8), rows(2, 9)];
        let outcomes = mask_nms(&masks, &[0.9, 0.8, 0.7], &ANY_CLASS).unwrap();
        assert_eq!(outcomes, [Kept, SuppressedBy(0), SuppressedBy(0)]);
        let config = NmsConfig {
            iou_threshold: 0.6,
            ..ANY_CLASS
        };
        let outcomes = mask_nms(&masks, &[0.9, 0.8, 0.7], &config).unwrap();
        assert_eq!(outcomes, [Kept, SuppressedBy(0), Kept]);
    }

    #[test]
    fn an_iou_equal_to_the_threshold_stays() {
        let masks = [rows(0, 4), rows(2, 4)];
        assert_eq!(masks[0].iou(&masks[1]).unwrap(), 0.5);
        let outcomes = mask_nms(&masks, &[0.5, 0.9], &ANY_CLASS).unwrap();
        assert_eq!(outcomes, [Kept, Kept]);
        let boxes = [row_box(0.0, 4.0), row_box(2.0, 4.0)];
        assert_eq!(
            box_nms(&boxes, &[0.5, 0.9], &ANY_CLASS).unwrap(),
            [Kept, Kept]
        );
    }

    #[test]
    fn equal_scores_go_by_index_and_classes_are_apart() {
        let masks = [rows(0, 5), rows(0, 5), rows(0, 5)];
        let outcomes = mask_nms(&masks, &[0.0, -0.0, 0.0], &ANY_CLASS).unwrap();
        assert_eq!(outcomes, [Kept, SuppressedBy(0), SuppressedBy(0)]);
        let config = NmsConfig {
            classes: Some(&[7, 3, 7]),
            ..ANY_CLASS
        };
        let outcomes = mask_nms(&masks, &[0.1, 0.2, 0.3], &config).unwrap();
        assert_eq!(outcomes, [SuppressedBy(2), Kept, Kept]);
    }

    #[test]
    fn empty_masks_and_boxes_are_kept() {
        let masks = [rows(3, 3), rows(3, 3)];
        let config = NmsConfig {
            iou_threshold: 0.0,
            ..ANY_CLASS
        };
        assert_eq!(
            mask_nms(&masks, &[1.0, 1.0], &config).unwrap(),
            [Kept, Kept]
        );
        let boxes = [BBox::default(), BBox::default()];
        assert_eq!(box_nms(&boxes, &[1.0, 1.0], &config).unwrap(), [Kept, Kept]);
        assert_eq!(mask_nms(&[], &[], &config).unwrap(), []);
    }

    #[test]
    fn bad_inputs_are_named() {
        let masks = [rows(0, 5), rows(0, 5)];
        let message = |scores: &[f64], config: &NmsConfig| {
            mask_nms(&masks, scores, config).unwrap_err().to_string()
        };
        assert_eq!(
            message(&[0.1], &ANY_CLASS),
            "'scores' has 1 entries, expected 2, one for each of 'masks'"
        );
        assert_eq!(
            message(&[0.1, f64::NAN], &ANY_CLASS),
            "score 1 is not a number"
        );
        let classes = NmsConfig {
            classes: Some(&[1]),
            ..ANY_CLASS
        };
        assert!(message(&[0.1, 0.2], &classes).starts_with("'classes' has 1"));
        for iou_threshold in [f64::NAN, -0.1, 1.5] {
            let config = NmsConfig {
                iou_threshold,
                ..ANY_CLASS
            };
            assert!(message(&[0.1, 0.2], &config).starts_with("iou threshold is"));
        }
        let mixed = [
            rows(0, 5),
            Rle::empty(Size {
                height: 1,
                width: 10,
            })
            .unwrap(),
        ];
        assert!(mask_nms(&mixed, &[0.1, 0.2], &ANY_CLASS).is_err());
    }
}
