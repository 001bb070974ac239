//! Masks, boxes and polygons of one image: pure functions on plain values.
//!
//! Everything is in pixels of one image of a [`Size`], x to the right and y down, with the origin at the top-left
//! corner of the top-left pixel. Masks are COCO run-length encodings ([`Rle`]) and are combined and compared without
//! decoding. This module does not depend on Arrow, tensors or files.
//!
//! - [`Size`], [`BBox`], [`Pixel`]: image sizes, XYWH boxes, pixel positions
//! - [`Rle`]: a mask; its codecs, set algebra and IoU
//! - [`pairwise_iou`]: IoU of every detection with every ground truth; [`match_detections`]: COCO's matching;
//!   [`accumulate_matches`]: average precision and recall
//! - [`Rle::boundary`]: the boundary region of a mask
//! - [`rle_from_polygons`], [`polygons_from_rle`]: COCO polygons in and out
//! - [`rle_from_pixel_ring`]: outlines of OpenCV and Ultralytics in
//! - [`CellGrid`]: how much of each cell of a grid a mask covers
//! - [`connected_components`], [`remove_small_regions`]: parts of a mask
//! - [`mask_nms`], [`box_nms`]: greedy non-maximum suppression

mod accumulate;
mod bbox;
mod bitmap;
mod boundary;
mod cells;
mod components;
mod confusion;
mod contour;
mod matching;
mod merge;
mod nms;
mod overlap;
mod paint;
mod pixel_ring;
mod place;
mod polygon;
mod rle;
mod segments;
mod spans;
#[cfg(test)]
mod testing;
mod vote;

pub use accumulate::{DETECTION_LIMITS, Matched, Precision, accumulate_matches};
pub use bbox::{BBox, Pixel, Size};
pub(crate) use boundary::BOUNDARY_RATIO;
pub use cells::CellGrid;
pub use components::{SmallRegion, connected_components, remove_small_regions};
pub(crate) use confusion::{ConfusedPixels, confusion};
pub use contour::Ring;
pub use matching::{
    AREA_RANGES, Detection, IOU_THRESHOLDS, MAX_DETECTIONS, Match, Truth, match_detections,
};
pub use nms::{NmsConfig, NmsOutcome, box_nms, mask_nms};
pub use overlap::{IouMatrix, pairwise_box_iou, pairwise_iou};
pub(crate) use paint::{paint, values_of_pixels};
pub use pixel_ring::rle_from_pixel_ring;
pub use polygon::{Polygon, polygons_from_rle, rle_from_polygon, rle_from_polygons};
pub use rle::Rle;
pub use segments::Connectivity;
pub(crate) use vote::{Vote, vote};
