//! Converts COCO polygons to masks, exactly as pycocotools rasterises them, and masks to polygons.
//!
//! Polygons come in as flat rings `[x0, y0, x1, y1, ...]` in pixels, whose coordinates may lie outside the image. The
//! outlines of a mask go out with the integer corners of its pixels. `contour` follows the outlines.

use hotcoco::mask;

use super::bbox::Size;
use super::contour::{Ring, rings_of_parts};
use super::rle::Rle;
use crate::error::{Error, Result};

/// One connected part of a mask as an outline with holes.
///
/// With y pointing down, the exterior runs clockwise on the screen and holes counterclockwise, so the foreground is
/// always to the right. Rings are simple. Rings of one polygon, and different polygons, touch at most in single
/// corners.
#[derive(Clone, Debug, PartialEq)]
pub struct Polygon {
    /// Outer outline, starting at its leftmost corner (of several, the topmost).
    pub exterior: Ring,
    /// Outlines of the holes, each starting at its leftmost corner (of several, the topmost).
    pub holes: Vec<Ring>,
}

impl Polygon {
    /// One flat ring `[x0, y0, x1, y1, ...]` for COCO's `segmentation`, which has no holes.
    ///
    /// Each hole is connected to the exterior by a bridge of zero width, traversed once in each direction. pycocotools
    /// fills by parity and rounds a line the same in both directions, so the bridges cancel and [`rle_from_polygon`]
    /// restores exactly this part of the mask.
    pub fn to_coco(&self) -> Vec<f64> {
        let mut order: Vec<usize> = (0..self.exterior.len()).collect();
        let corner = |index: &usize| self.exterior.get(*index).copied().unwrap_or_default();
        order.sort_unstable_by(|a, b| corner(a).partial_cmp(&corner(b)).unwrap_or(a.cmp(b)));
        let mut holes_at: Vec<Vec<&Ring>> = vec![Vec::new(); self.exterior.len()];
        for hole in &self.holes {
            // Bridge to the last exterior corner before the hole, in (x, y) order.
            let Some(first) = hole.first() else { continue };
            let past = order.partition_point(|index| corner(index) <= *first);
            let anchor = order.get(past.saturating_sub(1));
            if let Some(holes) = anchor.and_then(|index| holes_at.get_mut(*index)) {
                holes.push(hole);
            }
        }
        let mut flat = Vec::new();
        for (point, holes) in self.exterior.iter().zip(&holes_at) {
            flat.extend(point);
            for hole in holes {
                flat.extend(hole.iter().chain(hole.first()).flatten());
                flat.extend(point);
            }
        }
        flat
    }
}

/// The outlines of a mask: one polygon for each 4-connected part, in the order of their first pixels, column-major.
///
/// Corners are integer pixel corners, and no three consecutive ones are collinear. Parts that touch only diagonally are
/// separate polygons, so that every ring is simple. Holes belong to the part they lie in; a part inside a hole of
/// another is a polygon of its own. Filling each exterior with [`rle_from_polygon`], clearing its holes and uniting the
/// parts restores the mask exactly, for images of up to 2^22 pixels per side.
///
/// Time and memory grow with the mask's runs and the columns they cover, not with its pixels.
pub fn polygons_from_rle(mask: &Rle) -> Vec<Polygon> {
    let mut polygons = Vec::new();
    for rings in rings_of_parts(mask) {
        let (mut exteriors, holes): (Vec<Ring>, Vec<Ring>) =
            rings.into_iter().partition(|ring| doubled_area(ring) > 0.0);
        debug_assert_eq!(exteriors.len(), 1, "a 4-connected part has one exterior");
        if let Some(exterior) = exteriors.pop() {
            polygons.push(Polygon { exterior, holes });
        }
    }
    polygons
}

/// Twice the signed area of a ring; positive if it runs clockwise on the screen.
fn doubled_area(ring: &[[f64; 2]]) -> f64 {
    let next = ring.iter().skip(1).chain(ring.first());
    ring.iter()
        .zip(next)
        .map(|([x0, y0], [x1, y1])| x0 * y1 - x1 * y0)
        .sum()
}

/// The mask of one flat polygon, pixel for pixel as pycocotools rasterises it.
///
/// What lies outside the image is cut off. Coordinates beyond 2^22 pixels from the origin are moved to that bound,
/// where pycocotools' own arithmetic would overflow. Time and memory depend on the image's size and the number of
/// points, not on the coordinates.
///
/// # Errors
/// [`Error::MaskTooLarge`]; [`Error::PolygonOddLength`], [`Error::PolygonTooShort`] and
/// [`Error::PolygonNotFinite`] for malformed coordinates.
pub fn rle_from_polygon(xy: &[f64], size: Size) -> Result<Rle> {
    rasterise(0, xy, size)
}

/// The union of the masks of flat polygons, as pycocotools merges a COCO `segmentation`.
///
/// # Examples
/// ```
/// use grainstore::geometry::{BBox, Size, rle_from_polygons};
///
/// let size = Size { height: 4, width: 8 };
/// let two_squares = [
///     vec![1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 3.0, 1.0],
///     vec![5.0, 1.0, 5.0, 3.0, 7.0, 3.0, 7.0, 1.0],
/// ];
/// let mask = rle_from_polygons(&two_squares, size)?;
/// assert_eq!(mask.area(), 8);
/// assert_eq!(mask.bbox(), BBox::from_xywh([1.0, 1.0, 6.0, 2.0]));
/// # Ok::<(), grainstore::Error>(())
/// ```
///
/// # Errors
/// Those of [`rle_from_polygon`]; the error names the polygon.
pub fn rle_from_polygons(polygons: &[Vec<f64>], size: Size) -> Result<Rle> {
    let masks: Vec<Rle> = polygons
        .iter()
        .enumerate()
        .map(|(polygon, xy)| rasterise(polygon, xy, size))
        .collect::<Result<_>>()?;
    Rle::union_all(size, &masks)
}

fn rasterise(polygon: usize, xy: &[f64], size: Size) -> Result<Rle> {
    size.pixels()?;
    let found = xy.len();
    if found % 2 == 1 {
        return Err(Error::PolygonOddLength { polygon, found });
    }
    if found < 6 {
        return Err(Error::PolygonTooShort { polygon, found });
    }
    if let Some((index, &value)) = xy.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        return Err(Error::PolygonNotFinite {
            polygon,
            index,
            value,
        });
    }
    let mask = mask::fr_poly(xy, size.height, size.width)
        .map_err(|source| Error::RleCodec { size, source })?;
    Rle::from_runs(size, mask.counts)
}

#[cfg(test)]
mod tests;
