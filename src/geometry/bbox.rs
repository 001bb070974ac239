//! Image sizes, pixel positions and axis-aligned boxes, as plain values in pixels.

use std::fmt;

use crate::error::{Error, Result};

/// Height and width of an image or mask, in pixels; COCO's `size: [h, w]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
}

impl Size {
    /// Number of pixels, `height * width`.
    ///
    /// # Errors
    /// [`Error::MaskTooLarge`] if that is more than `u32::MAX`, the longest run that COCO's RLE can hold.
    pub fn pixels(self) -> Result<u32> {
        self.height
            .checked_mul(self.width)
            .ok_or(Error::MaskTooLarge { size: self })
    }
}

impl fmt::Display for Size {
    /// Writes the height, `x` and the width, as in `480x640`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.height, self.width)
    }
}

/// Position of one pixel: column `x` and row `y`, counted from the top left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pixel {
    /// Column, from 0 to width - 1.
    pub x: u32,
    /// Row, from 0 to height - 1.
    pub y: u32,
}

/// Axis-aligned box in pixels, XYWH as in COCO.
///
/// `x` and `y` are the top-left corner. A box around the single pixel (3, 4) is 3, 4, 1, 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BBox {
    /// Left edge.
    pub x: f64,
    /// Top edge.
    pub y: f64,
    /// Extent to the right.
    pub width: f64,
    /// Extent downwards.
    pub height: f64,
}

impl BBox {
    /// The box with the given XYWH numbers.
    pub fn from_xywh([x, y, width, height]: [f64; 4]) -> Self {
        Self {
            x,
            y,
            width,
            height,
        }
    }

    /// The box with the given XYXY numbers: left, top, right, bottom edge.
    pub fn from_xyxy([left, top, right, bottom]: [f64; 4]) -> Self {
        Self {
            x: left,
            y: top,
            width: right - left,
            height: bottom - top,
        }
    }

    /// The box as x, y, width, height.
    pub fn to_xywh(self) -> [f64; 4] {
        [self.x, self.y, self.width, self.height]
    }

    /// The box as left, top, right, bottom edge.
    pub fn to_xyxy(self) -> [f64; 4] {
        [self.x, self.y, self.x + self.width, self.y + self.height]
    }

    /// Width times height, in square pixels.
    pub fn area(self) -> f64 {
        self.width * self.height
    }

    /// Area that both boxes cover, in square pixels.
    pub fn intersection(self, other: Self) -> f64 {
        let [left, top, right, bottom] = self.to_xyxy();
        let [other_left, other_top, other_right, other_bottom] = other.to_xyxy();
        let width = right.min(other_right) - left.max(other_left);
        let height = bottom.min(other_bottom) - top.max(other_top);
        if width <= 0.0 || height <= 0.0 {
            return 0.0;
        }
        width * height
    }

    /// Intersection over union, in [0, 1]; 0 for boxes that do not overlap.
    pub fn iou(self, other: Self) -> f64 {
        let intersection = self.intersection(other);
        ratio(intersection, self.area() + other.area() - intersection)
    }

    /// Intersection over the area of `self`, in [0, 1]: the IoU of a detection with a crowd region.
    ///
    /// As in pycocotools' `iou` with `iscrowd`, a detection inside a crowd matches it fully.
    pub fn crowd_iou(self, crowd: Self) -> f64 {
        ratio(self.intersection(crowd), self.area())
    }
}

/// `part / whole`, or 0 if nothing is shared (pycocotools' rule for empty masks and boxes).
pub(super) fn ratio(part: f64, whole: f64) -> f64 {
    if part > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_counts_pixels_up_to_u32() {
        let size = |height, width| Size { height, width };
        assert_eq!(size(480, 640).pixels().unwrap(), 307_200);
        assert_eq!(size(0, u32::MAX).pixels().unwrap(), 0);
        assert_eq!(size(65_537, 65_535).pixels().unwrap(), u32::MAX);
        let error = size(65_536, 65_536).pixels().unwrap_err();
        assert!(error.to_string().contains("65536x65536"), "{error}");
    }

    #[test]
    fn xyxy_and_xywh_are_inverse() {
        let bbox = BBox::from_xywh([1.5, 2.0, 3.0, 4.25]);
        assert_eq!(bbox.to_xyxy(), [1.5, 2.0, 4.5, 6.25]);
        assert_eq!(BBox::from_xyxy(bbox.to_xyxy()), bbox);
        assert_eq!(bbox.to_xywh(), [1.5, 2.0, 3.0, 4.25]);
        assert_eq!(bbox.area(), 12.75);
    }

    #[test]
    fn iou_of_overlapping_touching_and_empty_boxes() {
        let a = BBox::from_xywh([0.0, 0.0, 4.0, 4.0]);
        let b = BBox::from_xywh([2.0, 2.0, 4.0, 4.0]);
        assert_eq!(a.intersection(b), 4.0);
        assert_eq!(a.iou(b), 4.0 / 28.0);
        assert_eq!(a.crowd_iou(b), 0.25);
        assert_eq!(a.iou(BBox::from_xywh([4.0, 0.0, 4.0, 4.0])), 0.0);
        assert_eq!(BBox::default().iou(BBox::default()), 0.0);
        assert_eq!(BBox::default().crowd_iou(a), 0.0);
    }
}
