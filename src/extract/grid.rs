//! Where to prompt: crops of the image, and a grid of points in each.
//!
//! Every number is that of upstream's `segment_anything/utils/amg.py`, but for tiles, which upstream does not have.

use serde::{Deserialize, Serialize};

/// A crop of the image in whole pixels, and the layer of crops it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crop {
    /// First column.
    pub left: u32,
    /// First row.
    pub top: u32,
    /// Column after the last.
    pub right: u32,
    /// Row after the last.
    pub bottom: u32,
    /// Layer 0 is the whole image; layer i divides it into 2^i x 2^i crops.
    pub layer: u32,
}

impl Crop {
    /// A whole image of the given width and height.
    pub fn whole(width: u32, height: u32) -> Self {
        Self {
            left: 0,
            top: 0,
            right: width,
            bottom: height,
            layer: 0,
        }
    }

    /// Width in pixels.
    pub fn width(self) -> u32 {
        self.right.saturating_sub(self.left)
    }

    /// Height in pixels.
    pub fn height(self) -> u32 {
        self.bottom.saturating_sub(self.top)
    }

    /// The crop as x, y, width and height in pixels of the image.
    pub fn to_xywh(self) -> [f64; 4] {
        [self.left, self.top, self.width(), self.height()].map(f64::from)
    }

    /// Whether the crop covers a whole image of the given width and height.
    pub fn is_whole(self, width: u32, height: u32) -> bool {
        (self.left, self.top, self.right, self.bottom) == (0, 0, width, height)
    }
}

/// How an image is divided into crops.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CropLayout {
    /// Layers beyond the whole image; layer i has (2^i)^2 crops.
    pub layers: u32,
    /// Overlap of neighbouring crops in layer 1, as a fraction of the image's short side, [0, 1); each further layer
    /// halves it.
    pub overlap_ratio: f64,
}

/// The crops of an image, the whole image first (amg.py, `generate_crop_boxes`).
pub fn crops(width: u32, height: u32, layout: CropLayout) -> Vec<Crop> {
    let mut crops = vec![Crop::whole(width, height)];
    let short_side = f64::from(width.min(height));
    for layer in 1..=layout.layers {
        let per_side = 1u32 << layer;
        let overlap = (layout.overlap_ratio * short_side * (2.0 / f64::from(per_side))) as u32;
        let length = |side: u32| (overlap * (per_side - 1) + side).div_ceil(per_side);
        let (crop_width, crop_height) = (length(width), length(height));
        let starts = |length: u32| (0..per_side).map(move |i| length.saturating_sub(overlap) * i);
        for left in starts(crop_width) {
            for top in starts(crop_height) {
                crops.push(Crop {
                    left,
                    top,
                    right: (left + crop_width).min(width),
                    bottom: (top + crop_height).min(height),
                    layer,
                });
            }
        }
    }
    crops
}

/// How a large photo is cut into tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tiling {
    /// Side of a tile in pixels.
    pub side: u32,
    /// Minimum overlap of neighbouring tiles in pixels.
    pub overlap: u32,
}

impl Tiling {
    /// The tiles of an image, column by column; one if the image is no larger than a tile. All are of the same size, and as
    /// far apart as whole pixels allow.
    pub fn tiles(self, width: u32, height: u32) -> Vec<Crop> {
        let (columns, rows) = (self.starts(width), self.starts(height));
        let starts = columns
            .iter()
            .flat_map(|left| rows.iter().map(move |top| (*left, *top)));
        starts
            .map(|(left, top)| Crop {
                left,
                top,
                right: left.saturating_add(self.side).min(width),
                bottom: top.saturating_add(self.side).min(height),
                layer: 0,
            })
            .collect()
    }

    /// Where tiles start along a side of `length` pixels.
    fn starts(self, length: u32) -> Vec<u32> {
        let Some(rest) = length.checked_sub(self.side).filter(|rest| *rest > 0) else {
            return vec![0];
        };
        let step = self.side.saturating_sub(self.overlap).max(1);
        let last = u64::from(rest.div_ceil(step));
        let at = |i: u64| u32::try_from(i * u64::from(rest) / last).unwrap_or(rest);
        (0..=last).map(at).collect()
    }
}

/// Centres of an n x n grid over the unit square, row by row: x, y in [0, 1]
/// (amg.py, `build_point_grid`).
pub fn point_grid(per_side: u32) -> Vec<[f64; 2]> {
    let n = f64::from(per_side);
    let offset = 1.0 / (2.0 * n);
    // numpy.linspace(offset, 1 - offset, n)
    let step = (1.0 - 2.0 * offset) / (n - 1.0).max(1.0);
    let at = |i: u32| {
        if i + 1 == per_side && per_side > 1 {
            1.0 - offset
        } else {
            offset + f64::from(i) * step
        }
    };
    (0..per_side)
        .flat_map(|row| (0..per_side).map(move |column| [at(column), at(row)]))
        .collect()
}

/// Number of points along a side of the grid in a layer of crops (amg.py, `build_all_layer_point_grids`).
pub fn points_per_side(per_side: u32, downscale_factor: u32, layer: u32) -> u32 {
    let divisor = f64::from(downscale_factor.max(1)).powi(layer as i32);
    (f64::from(per_side) / divisor) as u32
}

/// The points to prompt in a crop, x and y in pixels of the crop.
pub fn points_in_crop(crop: Crop, per_side: u32) -> Vec<[f64; 2]> {
    let (width, height) = (f64::from(crop.width()), f64::from(crop.height()));
    point_grid(per_side)
        .into_iter()
        .map(|[x, y]| [x * width, y * height])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_pixel_and_overlap() {
        let tiling = Tiling {
            side: 100,
            overlap: 20,
        };
        assert_eq!(tiling.tiles(100, 60).len(), 1);
        assert_eq!(tiling.starts(101), [0, 1]);
        assert_eq!(tiling.starts(180), [0, 80]);
        assert_eq!(tiling.starts(181), [0, 40, 81]);
        for length in 1..1000 {
            let starts = tiling.starts(length);
            let end = starts.last().map(|start| (start + 100).min(length));
            assert_eq!(end, Some(length));
            for pair in starts.windows(2) {
                assert!(
                    pair[1] > pair[0] && pair[0] + 100 >= pair[1] + 20,
                    "{starts:?}"
                );
            }
        }
        let tiles = tiling.tiles(250, 130);
        assert_eq!(tiles.len(), 3 * 2);
        assert!(
            tiles
                .iter()
                .all(|tile| (tile.width(), tile.height()) == (100, 100))
        );
    }
}
