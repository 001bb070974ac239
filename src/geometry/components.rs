//! Connected parts of a mask, and removal of small ones. Works on runs, without decoding.

#![allow(
    clippy::indexing_slicing,
    reason = "numbers that connected_parts gave, of parts it counted"
)]

use super::rle::Rle;
use super::segments::{Connectivity, Segment, connected_parts, mask_from_segments, segments};
use super::spans::RunBuilder;

/// Splits a mask into its connected parts, in the order of their first pixels, column-major.
///
/// Time and memory grow with the mask's runs and the columns they cover, not with its pixels.
pub fn connected_components(mask: &Rle, connectivity: Connectivity) -> Vec<Rle> {
    let size = mask.size();
    let segments = segments(mask);
    let parts = connected_parts(&segments, connectivity);
    let mut builders: Vec<RunBuilder> = Vec::new();
    builders.resize_with(parts.count, RunBuilder::default);
    for (segment, &part) in segments.iter().zip(&parts.part_of) {
        let column = segment.x * size.height;
        if let Some(builder) = builders.get_mut(part) {
            builder.push(column + segment.top, column + segment.bottom);
        }
    }
    builders
        .into_iter()
        .map(|builder| Rle::from_canonical(size, builder.finish(mask.pixels())))
        .collect()
}

/// The kind of region that [`remove_small_regions`] removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmallRegion {
    /// Connected background, which becomes foreground.
    Holes,
    /// Connected foreground, which becomes background.
    Islands,
}

/// Removes the 8-connected regions of fewer than `min_area` pixels. Also returns whether there were any.
///
/// Same as `remove_small_regions` in segment-anything's `utils/amg.py`: background that reaches the edge of the image
/// counts as a hole, too. If all islands are small, the largest stays (of several, the one that OpenCV numbers first),
/// and the returned flag is still `true`.
pub fn remove_small_regions(mask: &Rle, min_area: u64, kind: SmallRegion) -> (Rle, bool) {
    match kind {
        SmallRegion::Holes => {
            let background = mask.complement();
            let regions = Regions::new(&background);
            if !regions.any_below(min_area) {
                return (mask.clone(), false);
            }
            (regions.keep_from(min_area).complement(), true)
        }
        SmallRegion::Islands => {
            let regions = Regions::new(mask);
            if !regions.any_below(min_area) {
                return (mask.clone(), false);
            }
            let kept = match regions.largest() {
                Some((largest, area)) if area < min_area => regions.keep_only(largest),
                _ => regions.keep_from(min_area),
            };
            (kept, true)
        }
    }
}

/// The 8-connected regions of a mask.
struct Regions<'a> {
    mask: &'a Rle,
    segments: Vec<Segment>,
    part_of: Vec<usize>,
    areas: Vec<u64>,
}

impl<'a> Regions<'a> {
    fn new(mask: &'a Rle) -> Self {
        let segments = segments(mask);
        let parts = connected_parts(&segments, Connectivity::Eight);
        let mut areas = vec![0; parts.count];
        for (segment, &part) in segments.iter().zip(&parts.part_of) {
            areas[part] += u64::from(segment.bottom - segment.top);
        }
        Self {
            mask,
            segments,
            part_of: parts.part_of,
            areas,
        }
    }

    fn any_below(&self, min_area: u64) -> bool {
        self.areas.iter().any(|&area| area < min_area)
    }

    /// Number and area of the largest region.
    ///
    /// OpenCV numbers 8-connected regions by their first 2x2 block, with blocks taken row by row. Two regions never
    /// share a block, because all pixels of a block touch.
    fn largest(&self) -> Option<(usize, u64)> {
        let largest = *self.areas.iter().max()?;
        self.segments
            .iter()
            .zip(&self.part_of)
            .filter(|&(_, &part)| self.areas.get(part) == Some(&largest))
            .min_by_key(|(segment, _)| (segment.top / 2, segment.x / 2))
            .map(|(_, &part)| (part, largest))
    }

    fn keep_only(&self, region: usize) -> Rle {
        self.keep(|part| part == region)
    }

    fn keep_from(&self, min_area: u64) -> Rle {
        self.keep(|part| self.areas.get(part).is_some_and(|&area| area >= min_area))
    }

    fn keep(&self, keep: impl Fn(usize) -> bool) -> Rle {
        let kept = self
            .segments
            .iter()
            .zip(&self.part_of)
            .filter(|&(_, &part)| keep(part))
            .map(|(segment, _)| segment);
        mask_from_segments(self.mask.size(), self.mask.pixels(), kept)
    }
}

#[cfg(test)]
mod tests;
