//! Overlap of masks: shared area, IoU of a pair, IoU of all pairs. No mask is decoded.
//!
//! The formulas are those of pycocotools' `rleIou`. Masks that share no pixel, including empty ones, have IoU 0. The
//! IoU with a crowd region is the shared fraction of the detection.

use super::bbox::{BBox, ratio};
use super::merge::check_same_size;
use super::rle::Rle;
use super::spans::spans;
use crate::error::{Error, Result};

impl Rle {
    /// Number of pixels in both masks.
    ///
    /// # Errors
    /// [`Error::SizeMismatch`] if the sizes differ.
    pub fn intersection_area(&self, other: &Self) -> Result<u64> {
        check_same_size(self.size(), other.size())?;
        Ok(shared_pixels(spans(self.runs()), spans(other.runs())))
    }

    /// Intersection over union, in [0, 1]; 0 if no pixel is shared.
    ///
    /// # Errors
    /// [`Error::SizeMismatch`] if the sizes differ.
    pub fn iou(&self, other: &Self) -> Result<f64> {
        let shared = self.intersection_area(other)?;
        Ok(ratio(
            shared as f64,
            (self.area() + other.area() - shared) as f64,
        ))
    }

    /// Intersection over the area of `self`, in [0, 1]: the IoU of a detection with a crowd region.
    ///
    /// # Errors
    /// [`Error::SizeMismatch`] if the sizes differ.
    pub fn crowd_iou(&self, crowd: &Self) -> Result<f64> {
        let shared = self.intersection_area(crowd)?;
        Ok(ratio(shared as f64, self.area() as f64))
    }
}

/// IoU of every detection with every ground truth, in [0, 1].
#[derive(Clone, Debug, PartialEq)]
pub struct IouMatrix {
    detections: usize,
    ground_truth: usize,
    values: Vec<f64>,
}

impl IouMatrix {
    /// Number of detections, which is the number of rows.
    pub fn detections(&self) -> usize {
        self.detections
    }

    /// Number of ground truths, which is the length of a row.
    pub fn ground_truth(&self) -> usize {
        self.ground_truth
    }

    /// IoU of one detection with each ground truth; empty for a detection that does not exist.
    pub fn row(&self, detection: usize) -> &[f64] {
        let start = detection.saturating_mul(self.ground_truth);
        let end = start.saturating_add(self.ground_truth);
        self.values.get(start..end).unwrap_or_default()
    }

    /// All values, row-major: one row per detection, one column per ground truth.
    pub fn values(&self) -> &[f64] {
        &self.values
    }
}

/// IoU of every detection with every ground truth, as in pycocotools' `iou`.
///
/// Columns of ground truths marked in `iscrowd` hold [`Rle::crowd_iou`], others [`Rle::iou`]. Runs are not walked for
/// pairs whose boxes do not overlap.
///
/// # Errors
/// [`Error::LengthMismatch`] unless there is one `iscrowd` entry per ground truth;
/// [`Error::SizeMismatch`] unless all masks have the same size.
pub fn pairwise_iou(
    detections: &[Rle],
    ground_truth: &[Rle],
    iscrowd: &[bool],
) -> Result<IouMatrix> {
    check_iscrowd(iscrowd, ground_truth.len())?;
    let mut all = detections.iter().chain(ground_truth);
    if let Some(first) = all.next() {
        all.try_for_each(|mask| check_same_size(first.size(), mask.size()))?;
    }
    let ground_truth: Vec<PreparedMask> = ground_truth.iter().map(PreparedMask::new).collect();
    let mut values = Vec::with_capacity(detections.len() * ground_truth.len());
    for detection in detections {
        let detection = PreparedMask::new(detection);
        for (truth, &crowd) in ground_truth.iter().zip(iscrowd) {
            values.push(if crowd {
                detection.crowd_iou(truth)
            } else {
                detection.iou(truth)
            });
        }
    }
    Ok(IouMatrix {
        detections: detections.len(),
        ground_truth: ground_truth.len(),
        values,
    })
}

/// IoU of every detected box with every annotated one, as in pycocotools' `iou` of boxes.
///
/// # Errors
/// [`Error::LengthMismatch`] unless there is one `iscrowd` entry per ground truth.
pub fn pairwise_box_iou(
    detections: &[BBox],
    ground_truth: &[BBox],
    iscrowd: &[bool],
) -> Result<IouMatrix> {
    check_iscrowd(iscrowd, ground_truth.len())?;
    let mut values = Vec::with_capacity(detections.len() * ground_truth.len());
    for detection in detections {
        for (truth, &crowd) in ground_truth.iter().zip(iscrowd) {
            values.push(if crowd {
                detection.crowd_iou(*truth)
            } else {
                detection.iou(*truth)
            });
        }
    }
    Ok(IouMatrix {
        detections: detections.len(),
        ground_truth: ground_truth.len(),
        values,
    })
}

fn check_iscrowd(iscrowd: &[bool], ground_truth: usize) -> Result<()> {
    if iscrowd.len() == ground_truth {
        return Ok(());
    }
    Err(Error::LengthMismatch {
        list: "iscrowd",
        of: "ground_truth",
        expected: ground_truth,
        found: iscrowd.len(),
    })
}

/// A mask prepared for comparison with many others of its size.
pub(super) struct PreparedMask {
    height: u32,
    area: u64,
    /// Columns and rows of the bounding box; the end is exclusive.
    columns: (u32, u32),
    rows: (u32, u32),
    spans: Vec<(u32, u32)>,
}

impl PreparedMask {
    pub(super) fn new(mask: &Rle) -> Self {
        let [left, top, right, bottom] = mask.bbox().to_xyxy();
        Self {
            height: mask.size().height,
            area: mask.area(),
            columns: (left as u32, right as u32),
            rows: (top as u32, bottom as u32),
            spans: spans(mask.runs()).collect(),
        }
    }

    pub(super) fn iou(&self, other: &Self) -> f64 {
        let shared = self.shared_pixels(other);
        ratio(shared as f64, (self.area + other.area - shared) as f64)
    }

    fn crowd_iou(&self, crowd: &Self) -> f64 {
        ratio(self.shared_pixels(crowd) as f64, self.area as f64)
    }

    fn shared_pixels(&self, other: &Self) -> u64 {
        let left = self.columns.0.max(other.columns.0);
        let right = self.columns.1.min(other.columns.1);
        let top = self.rows.0.max(other.rows.0);
        let bottom = self.rows.1.min(other.rows.1);
        if left >= right || top >= bottom {
            return 0;
        }
        // Only columns that both boxes cover can share pixels.
        let (start, end) = (left * self.height, right * self.height);
        shared_pixels(
            self.spans_between(start, end).iter().copied(),
            other.spans_between(start, end).iter().copied(),
        )
    }

    /// The spans that overlap the pixel numbers `start..end`.
    fn spans_between(&self, start: u32, end: u32) -> &[(u32, u32)] {
        let first = self.spans.partition_point(|span| span.1 <= start);
        let past = self.spans.partition_point(|span| span.0 < end);
        self.spans.get(first..past).unwrap_or_default()
    }
}

/// Number of pixels covered by both of two ascending lists of spans.
fn shared_pixels(
    mut left: impl Iterator<Item = (u32, u32)>,
    mut right: impl Iterator<Item = (u32, u32)>,
) -> u64 {
    let (mut a, mut b) = (left.next(), right.next());
    let mut shared = 0;
    while let (Some((a_start, a_end)), Some((b_start, b_end))) = (a, b) {
        let (start, end) = (a_start.max(b_start), a_end.min(b_end));
        shared += u64::from(end.saturating_sub(start));
        if a_end <= b_end {
            a = left.next();
        }
        if b_end <= a_end {
            b = right.next();
        }
    }
    shared
}

#[cfg(test)]
mod tests {
    use super::super::bbox::Size;
    use super::super::testing::{Random, drawn};
    use super::*;

    #[test]
    fn every_pair_of_the_matrix_equals_the_pair_alone() {
        let mut random = Random::new(11);
        for _ in 0..300 {
            let size = random.size(14);
            let mut masks = |count| -> Vec<Rle> {
                let mut sparse = || {
                    let (mask, other) = (random.mask(size), random.mask(size));
                    mask.intersection(&other).unwrap()
                };
                (0..count).map(|_| sparse()).collect()
            };
            let (detections, truth) = (masks(5), masks(4));
            let iscrowd = [false, true, false, true];
            let matrix = pairwise_iou(&detections, &truth, &iscrowd).unwrap();
            assert_eq!(matrix.values().len(), 20);
            for (d, detection) in detections.iter().enumerate() {
                for (g, truth) in truth.iter().enumerate() {
                    let expected = if iscrowd[g] {
                        detection.crowd_iou(truth)
                    } else {
                        detection.iou(truth)
                    };
                    assert_eq!(matrix.row(d)[g], expected.unwrap());
                }
            }
        }
    }

    #[test]
    fn crowds_are_measured_by_the_detection() {
        let (detection, crowd) = (drawn(&["##..", "...."]), drawn(&["####", "###."]));
        assert_eq!(detection.iou(&crowd).unwrap(), 2.0 / 7.0);
        assert_eq!(detection.crowd_iou(&crowd).unwrap(), 1.0);
        assert_eq!(crowd.crowd_iou(&detection).unwrap(), 2.0 / 7.0);
    }

    #[test]
    fn shapes_are_checked_and_empty_sides_allowed() {
        let mask = drawn(&["##"]);
        let none = pairwise_iou(&[], &[], &[]).unwrap();
        assert!(none.values().is_empty() && none.row(0).is_empty());
        let no_detections = pairwise_iou(&[], std::slice::from_ref(&mask), &[false]).unwrap();
        assert_eq!(no_detections.detections(), 0);
        assert_eq!(no_detections.ground_truth(), 1);
        assert!(no_detections.row(0).is_empty());
        let masks = [mask];
        let message = pairwise_iou(&masks, &masks, &[]).unwrap_err().to_string();
        assert_eq!(
            message,
            "'iscrowd' has 0 entries, expected 1, one for each of 'ground_truth'"
        );
        let size = Size {
            height: 2,
            width: 1,
        };
        let other = [Rle::empty(size).unwrap()];
        assert!(pairwise_iou(&masks, &other, &[false]).is_err());
    }
}
