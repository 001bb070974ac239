//! Where on Earth the pixels of a photo are, as a GeoTIFF says it.

use image::metadata::Orientation;
use serde::Serialize;

/// Keys of a GeoTIFF's directory (OGC 19-008r4, annex B).
const MODEL_TYPE: u16 = 1024;
const RASTER_TYPE: u16 = 1025;
const GEOGRAPHIC_CRS: u16 = 2048;
const PROJECTED_CRS: u16 = 3072;
/// The model type whose coordinates are projected.
const PROJECTED: u16 = 1;
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
        let is_projected = self.key(MODEL_TYPE) == Some(PROJECTED);
        let geographic = self.key(GEOGRAPHIC_CRS).filter(|_| !is_projected);
        let crs = self.key(PROJECTED_CRS).or(geographic);
        let crs = crs.filter(|it| EPSG_CODES.contains(it));
        let (width, height) = (f64::from(width), f64::from(height));
        let geo_transform = after(stored, stored_of_upright(orientation, width, height));
        let [_, a, b, _, d, e] = geo_transform;
        // Else all pixels would be on a line.
        let is_affine = geo_transform.iter().all(|it| it.is_finite()) && a * e != b * d;
        is_affine.then(|| GeoReference {
            geo_transform,
            crs: crs.map(|code| format!("EPSG:{code}")),
        })
    }

    /// From corners of pixels as stored. What a file should not have is taken as GDAL takes it: a scale and a point count more than a
    /// transformation, and rows of a negative scale go down, too.
    fn stored_transform(&self) -> Option<[f64; 6]> {
        self.scaled().or_else(|| {
            let [a, b, _, x, d, e, _, y, ..] = *self.transformation.as_deref()? else {
                return None;
            };
            Some([x, a, b, y, d, e])
        })
    }

    fn scaled(&self) -> Option<[f64; 6]> {
        let [across, down, ..] = *self.scale.as_deref()? else {
            return None;
        };
        let down = down.abs();
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
    fn odd_tags_are_taken_as_gdal_takes_them() {
        let tags = |scale: [f64; 3], keys: &[u16]| GeoTags {
            scale: Some(scale.to_vec()),
            tie_points: Some(vec![0.0, 0.0, 0.0, 400_000.0, 5_000_000.0, 0.0]),
            keys: Some(keys.to_vec()),
            transformation: None,
        };
        let reference = |tags: &GeoTags| tags.reference((4, 3), Orientation::NoTransforms);
        let plain = [400_000.0, 10.0, 0.0, 5_000_000.0, 0.0, -10.0];
        let none = [1, 1, 0, 0];
        for scale in [[10.0, 10.0, 0.0], [10.0, -10.0, 0.0]] {
            let found = reference(&tags(scale, &none)).unwrap();
            assert_eq!((found.geo_transform, found.crs), (plain, None));
        }
        assert_eq!(reference(&tags([0.0, 0.0, 0.0], &none)), None);
        // A projected file that names only the geographic system below.
        let keys = [
            1,
            1,
            0,
            2,
            MODEL_TYPE,
            0,
            1,
            PROJECTED,
            GEOGRAPHIC_CRS,
            0,
            1,
            4326,
        ];
        let found = reference(&tags([10.0, 10.0, 0.0], &keys)).unwrap();
        assert_eq!(found.crs, None);
        let keys = [1, 1, 0, 2, MODEL_TYPE, 0, 1, 2, GEOGRAPHIC_CRS, 0, 1, 4326];
        let found = reference(&tags([10.0, 10.0, 0.0], &keys)).unwrap();
        assert_eq!(found.crs.as_deref(), Some("EPSG:4326"));
        let both = GeoTags {
            transformation: Some(vec![1.0; 16]),
            ..tags([10.0, 10.0, 0.0], &none)
        };
        assert_eq!(reference(&both).unwrap().geo_transform, plain);
    }

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
