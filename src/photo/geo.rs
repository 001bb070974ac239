//! Where on Earth the pixels of a photo are, as a GeoTIFF says it.

use image::metadata::Orientation;
use serde::Serialize;

/// Keys of a GeoTIFF's directory (OGC 19-008r4, annex B).
const RASTER_TYPE: u16 = 1025;
const GEOGRAPHIC_CRS: u16 = 2048;
const PROJECTED_CRS: u16 = 3072;
/// The raster type whose coordinates are those of a pixel's centre.
const PIXEL_IS_POINT: u16 = 2;
/// EPSG's codes; others are a file's own definitions.
const EPSG_CODES: std::ops::RangeInclusive<u16> = 1024..=32766;

/// Where on Earth the pixels of a photo are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GeoReference {
    /// From corners of pixels of the upright photo to coordinates, in the order of GDAL: x = t0 + column t1 + row t2, and y = t3 +
    /// column t4 + row t5.
    pub geo_transform: [f64; 6],
    /// The coordinates' reference system, such as `EPSG:32633`, if the file names one of EPSG's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crs: Option<String>,
}

/// What the tags of a GeoTIFF say, as stored.
#[derive(Default)]
pub(super) struct GeoTags {
    /// `ModelTransformation`, 16 numbers.
    pub transformation: Option<Vec<f64>>,
    /// `ModelPixelScale`, 3 numbers.
    pub scale: Option<Vec<f64>>,
    /// `ModelTiepoint`, 6 numbers a point.
    pub tie_points: Option<Vec<f64>>,
    /// `GeoKeyDirectory`, 4 numbers a key, of which the first four count them.
    pub keys: Option<Vec<u16>>,
}

impl GeoTags {
    /// The reference of a photo of a width and height as stored; `None` if the file has none that is affine.
    pub fn reference(
        &self,
        (width, height): (u32, u32),
        orientation: Orientation,
    ) -> Option<GeoReference> {
        let mut stored = self.stored_transform()?;
        if self.key(RASTER_TYPE) == Some(PIXEL_IS_POINT) {
            stored = after(stored, [-0.5, 1.0, 0.0, -0.5, 0.0, 1.0]);
        }
        // A projected system of the file's own has a geographic one below it, in which the coordinates are not.
        let crs = self
            .key(PROJECTED_CRS)
            .or_else(|| self.key(GEOGRAPHIC_CRS))
            .filter(|it| EPSG_CODES.contains(it));
        let (width, height) = (f64::from(width), f64::from(height));
        let geo_transform = after(stored, stored_of_upright(orientation, width, height));
        let is_affine = geo_transform.iter().all(|it| it.is_finite());
        is_affine.then(|| GeoReference {
            geo_transform,
            crs: crs.map(|code| format!("EPSG:{code}")),
        })
    }

    /// From corners of pixels as stored.
    fn stored_transform(&self) -> Option<[f64; 6]> {
        if let Some([a, b, _, x, d, e, _, y, ..]) = self.transformation.as_deref() {
            return Some([*x, *a, *b, *y, *d, *e]);
        }
        let [across, down, ..] = *self.scale.as_deref()? else {
            return None;
        };
        let [column, row, _, x, y, _] = *self.tie_points.as_deref()?.first_chunk::<6>()?;
        Some([x - column * across, across, 0.0, y + row * down, 0.0, -down])
    }

    /// The number of a key, if it is in the directory itself.
    fn key(&self, wanted: u16) -> Option<u16> {
        let (keys, _) = self.keys.as_deref()?.as_chunks::<4>();
        keys.iter().skip(1).find_map(|key| match *key {
            [id, 0, 1, value] if id == wanted => Some(value),
            _ => None,
        })
    }
}

/// The transform that does `first`, then `then`.
fn after(then: [f64; 6], first: [f64; 6]) -> [f64; 6] {
    let [x, a, b, y, d, e] = then;
    let [column, ca, cb, row, ra, rb] = first;
    [
        x + a * column + b * row,
        a * ca + b * ra,
        a * cb + b * rb,
        y + d * column + e * row,
        d * ca + e * ra,
        d * cb + e * rb,
    ]
}

/// From columns and rows of the upright photo to those of a photo of a width and height as stored.
fn stored_of_upright(orientation: Orientation, width: f64, height: f64) -> [f64; 6] {
    match orientation {
        Orientation::NoTransforms => [0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        Orientation::FlipHorizontal => [width, -1.0, 0.0, 0.0, 0.0, 1.0],
        Orientation::Rotate180 => [width, -1.0, 0.0, height, 0.0, -1.0],
        Orientation::FlipVertical => [0.0, 1.0, 0.0, height, 0.0, -1.0],
        Orientation::Rotate90FlipH => [0.0, 0.0, 1.0, 0.0, 1.0, 0.0],
        Orientation::Rotate90 => [0.0, 0.0, 1.0, height, -1.0, 0.0],
        Orientation::Rotate270FlipH => [width, 0.0, -1.0, height, -1.0, 0.0],
        Orientation::Rotate270 => [width, 0.0, -1.0, 0.0, 1.0, 0.0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upright_corners_are_stored_corners() {
        // Marks every pixel of a photo of 3 x 2 and turns it as decoding does; the centre of each mark must be found again.
        let stored = image::RgbImage::from_fn(3, 2, |x, y| image::Rgb([x as u8, y as u8, 0]));
        for code in 1..=8 {
            let orientation = Orientation::from_exif(code).unwrap();
            let mut upright = image::DynamicImage::ImageRgb8(stored.clone());
            upright.apply_orientation(orientation);
            let t = stored_of_upright(orientation, 3.0, 2.0);
            for (x, y, pixel) in upright.to_rgb8().enumerate_pixels() {
                let (x, y) = (f64::from(x) + 0.5, f64::from(y) + 0.5);
                let found = [t[0] + x * t[1] + y * t[2], t[3] + x * t[4] + y * t[5]];
                let expected = [f64::from(pixel[0]) + 0.5, f64::from(pixel[1]) + 0.5];
                assert_eq!(found, expected, "orientation {code}");
            }
        }
    }
}
