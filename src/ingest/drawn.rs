//! What shapes of annotation tools cover, and outlines of such shapes as rings x0, y0, x1, y1, ... in pixels.

use crate::Result;
use crate::coco::{Counts, Segmentation};
use crate::geometry::{Rle, Size, rle_from_polygon};

/// Corners of the ring of an ellipse.
const ELLIPSE_CORNERS: u32 = 256;

/// What a shape covers.
#[derive(Debug, PartialEq)]
pub(super) enum Drawn {
    /// Pixels, and the ring that they were drawn as, if it is one.
    Mask(Rle, Option<Vec<f64>>),
    /// A box: x, y, width, height.
    Box([f64; 4]),
}

impl Drawn {
    /// What a ring encloses of an image of a size.
    pub fn filled(ring: Vec<f64>, size: Size) -> Result<Self> {
        Ok(Self::Mask(rle_from_polygon(&ring, size)?, Some(ring)))
    }

    /// Its pixels: of a box, those that it encloses.
    pub fn into_mask(self, size: Size) -> Result<Rle> {
        match self {
            Self::Mask(mask, _) => Ok(mask),
            Self::Box([x, y, width, height]) => {
                let (right, bottom) = (x + width, y + height);
                rle_from_polygon(&[x, y, right, y, right, bottom, x, bottom], size)
            }
        }
    }

    /// It as mask and box of an annotation.
    pub fn annotated(&self) -> (Segmentation, Option<[f64; 4]>) {
        match self {
            // One that covers no pixel keeps its outline.
            Self::Mask(mask, Some(ring)) if mask.is_empty() => {
                (Segmentation::Polygons(vec![ring.clone()]), None)
            }
            Self::Mask(mask, _) => {
                let Size { height, width } = mask.size();
                let counts = Counts::Runs(mask.runs().to_vec());
                let size = [height, width];
                (Segmentation::Rle { size, counts }, None)
            }
            Self::Box(bbox) => (Segmentation::None, Some(*bbox)),
        }
    }
}

/// A point turned clockwise about another by an angle in degrees.
pub(super) fn turn([x, y]: [f64; 2], [cx, cy]: [f64; 2], degrees: f64) -> [f64; 2] {
    let (sine, cosine) = degrees.to_radians().sin_cos();
    let [dx, dy] = [x - cx, y - cy];
    [cx + dx * cosine - dy * sine, cy + dx * sine + dy * cosine]
}

/// An ellipse with these radii along its own axes, turned clockwise by an angle in degrees.
pub(super) fn ellipse(centre: [f64; 2], [across, down]: [f64; 2], degrees: f64) -> Vec<f64> {
    let corner = |at: u32| {
        let angle = f64::from(at) / f64::from(ELLIPSE_CORNERS) * std::f64::consts::TAU;
        let corner = [
            centre[0] + across * angle.cos(),
            centre[1] + down * angle.sin(),
        ];
        turn(corner, centre, degrees)
    };
    (0..ELLIPSE_CORNERS).flat_map(corner).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_turn_exchanges_the_radii() {
        let ring = ellipse([5.0, 6.0], [3.0, 1.0], 90.0);
        let (points, _) = ring.as_chunks::<2>();
        let most = |of: fn(&[f64; 2]) -> f64| points.iter().map(of).fold(f64::MIN, f64::max);
        assert!((most(|it| it[0]) - 6.0).abs() < 1e-9);
        assert!((most(|it| it[1]) - 9.0).abs() < 1e-9);
    }
}
