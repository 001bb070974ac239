//! Crops of a photo around masks.

use std::collections::HashMap;

use image::RgbImage;

use super::options::Background;
use crate::geometry::{Pixel, Rle, Size};

/// A part of a photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CropBox {
    pub origin: Pixel,
    pub size: Size,
}

/// The crops to embed, and the crop of each mask: with the photo as background, masks of equal boxes share one.
#[derive(Debug, PartialEq)]
pub(super) struct Crops<'a> {
    pub crops: Vec<(CropBox, &'a Rle)>,
    pub of_mask: Vec<usize>,
}

impl<'a> Crops<'a> {
    /// Plans the crops of masks that are not empty.
    pub fn plan(masks: &[&'a Rle], context: f64, background: Background) -> Self {
        let (mut crops, mut of_mask) = (Vec::new(), Vec::with_capacity(masks.len()));
        let mut known: HashMap<CropBox, usize> = HashMap::new();
        for mask in masks {
            let crop = crop_box(mask, context);
            let next = crops.len();
            let index = match background {
                Background::Keep => *known.entry(crop).or_insert(next),
                Background::Mean => next,
            };
            if index == next {
                crops.push((crop, *mask));
            }
            of_mask.push(index);
        }
        Self { crops, of_mask }
    }
}

/// The box of a mask, grown by `context` about its centre and cut off at the image's edge; whole pixels, at least one.
fn crop_box(mask: &Rle, context: f64) -> CropBox {
    let (bbox, size) = (mask.bbox(), mask.size());
    let range = |start: f64, length: f64, limit: u32| {
        let grown = length * context;
        let first = start + (length - grown) / 2.0;
        let last = limit.saturating_sub(1);
        let from = (first.floor().max(0.0) as u32).min(last);
        let to = ((first + grown).ceil() as u32).clamp(from + 1, limit.max(from + 1));
        (from, to - from)
    };
    let (x, width) = range(bbox.x, bbox.width, size.width);
    let (y, height) = range(bbox.y, bbox.height, size.height);
    CropBox {
        origin: Pixel { x, y },
        size: Size { height, width },
    }
}

/// The RGB bytes of a crop; with a colour, it takes the place of what the mask leaves out.
pub(super) fn cut(photo: &RgbImage, crop: CropBox, mask: &Rle, colour: Option<[u8; 3]>) -> Vec<u8> {
    let CropBox { origin, size } = crop;
    let (left, width) = (origin.x as usize, size.width as usize);
    let mut bytes = Vec::with_capacity(3 * width * size.height as usize);
    let line = 3 * photo.width() as usize;
    let rows = photo.as_raw().chunks_exact(line.max(1));
    for row in rows.skip(origin.y as usize).take(size.height as usize) {
        bytes.extend_from_slice(row.get(3 * left..3 * (left + width)).unwrap_or_default());
    }
    if let Some(colour) = colour {
        let inside = mask.window(origin, size);
        for (pixel, inside) in bytes.chunks_exact_mut(3).zip(inside) {
            if inside == 0 {
                pixel.copy_from_slice(&colour);
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: &[&str]) -> Rle {
        let size = Size {
            height: rows.len() as u32,
            width: rows[0].len() as u32,
        };
        let pixels = rows.iter().flat_map(|row| row.bytes());
        let bitmap: Vec<u8> = pixels.map(|pixel| u8::from(pixel == b'#')).collect();
        Rle::from_row_major(size, &bitmap).unwrap()
    }

    #[test]
    fn boxes_grow_about_their_centre_and_stay_inside() {
        let small = mask(&["......", "..##..", "..##..", "......"]);
        let at = |context| {
            let CropBox { origin, size } = crop_box(&small, context);
            [origin.x, origin.y, size.width, size.height]
        };
        assert_eq!(at(1.0), [2, 1, 2, 2]);
        assert_eq!(at(1.1), [1, 0, 4, 4]);
        assert_eq!(at(10.0), [0, 0, 6, 4]);
    }

    #[test]
    fn equal_boxes_are_one_crop_if_the_photo_stays() {
        let [full, corners] = [mask(&["##", "##"]), mask(&["#.", ".#"])];
        let masks = [&full, &corners, &full];
        let kept = Crops::plan(&masks, 1.0, Background::Keep);
        assert_eq!((kept.crops.len(), kept.of_mask), (1, vec![0, 0, 0]));
        let painted = Crops::plan(&masks, 1.0, Background::Mean);
        assert_eq!((painted.crops.len(), painted.of_mask), (3, vec![0, 1, 2]));
    }

    #[test]
    fn what_the_mask_leaves_out_gets_the_colour() {
        let photo = RgbImage::from_fn(3, 2, |x, y| image::Rgb([x as u8, y as u8, 9]));
        let mask = mask(&[".#.", ".##"]);
        let crop = crop_box(&mask, 1.0);
        assert_eq!(
            cut(&photo, crop, &mask, None),
            [1, 0, 9, 2, 0, 9, 1, 1, 9, 2, 1, 9]
        );
        assert_eq!(
            cut(&photo, crop, &mask, Some([7, 7, 7])),
            [1, 0, 9, 7, 7, 7, 1, 1, 9, 2, 1, 9]
        );
    }
}
