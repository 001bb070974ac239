//! Places the mask of a crop in the image that the crop was cut from.

use super::bbox::{Pixel, Size};
use super::rle::Rle;
use super::spans::{RunBuilder, spans};
use crate::error::{Error, Result};

impl Rle {
    /// The mask in an image of `size`, if this mask is that of a crop whose first pixel is at `origin` in the image.
    ///
    /// # Errors
    /// [`Error::CropOutside`] if the crop does not lie within the image; [`Error::MaskTooLarge`].
    pub fn place_in(&self, size: Size, origin: Pixel) -> Result<Self> {
        let crop = self.size();
        let ends = |start: u32, length: u32, all: u32| {
            start.checked_add(length).is_some_and(|end| end <= all)
        };
        if !ends(origin.x, crop.width, size.width) || !ends(origin.y, crop.height, size.height) {
            return Err(Error::CropOutside { crop, origin, size });
        }
        size.pixels()?;
        let mut runs = RunBuilder::default();
        for (mut start, end) in spans(self.runs()) {
            // Works column by column: in the image, other pixels lie between two columns of the crop.
            while start < end {
                let (column, row) = (start / crop.height, start % crop.height);
                let length = (crop.height - row).min(end - start);
                let first = (origin.x + column) * size.height + origin.y + row;
                runs.push(first, first + length);
                start += length;
            }
        }
        Self::from_runs(size, runs.finish(size.pixels()?))
    }

    /// The part of the mask in a window of the image, as a row-major bitmap of 0 and 1; 0 beyond the image.
    pub fn window(&self, origin: Pixel, size: Size) -> Vec<u8> {
        let (rows, columns) = (size.height as usize, size.width as usize);
        let mut bitmap = vec![0; rows * columns];
        let height = self.size().height.max(1);
        for (start, end) in spans(self.runs()) {
            let mut from = start;
            while from < end {
                let x = from / height;
                let to = end.min((x + 1).saturating_mul(height));
                let column = (x as usize).checked_sub(origin.x as usize);
                if let Some(column) = column.filter(|column| *column < columns) {
                    let (top, bottom) = ((from - x * height) as usize, (to - x * height) as usize);
                    let first = top.saturating_sub(origin.y as usize);
                    let last = bottom.saturating_sub(origin.y as usize).min(rows);
                    let pixels = bitmap.iter_mut().skip(column).step_by(columns);
                    let inside = pixels.skip(first).take(last.saturating_sub(first));
                    inside.for_each(|pixel| *pixel = 1);
                }
                from = to;
            }
        }
        bitmap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(height: u32, width: u32) -> Size {
        Size { height, width }
    }

    #[test]
    fn pixels_land_where_the_crop_lies() {
        let crop = Rle::from_row_major(size(2, 3), &[1, 1, 0, 0, 1, 1]).unwrap();
        let placed = crop.place_in(size(4, 5), Pixel { x: 1, y: 2 }).unwrap();
        #[rustfmt::skip]
        let expected = [
            0, 0, 0, 0, 0,
            0, 0, 0, 0, 0,
            0, 1, 1, 0, 0,
            0, 0, 1, 1, 0,
        ];
        assert_eq!(placed.to_row_major(), expected);
        assert_eq!(
            crop.place_in(size(2, 3), Pixel { x: 0, y: 0 }).unwrap(),
            crop
        );
        let empty = Rle::empty(size(2, 3)).unwrap();
        assert!(
            empty
                .place_in(size(4, 5), Pixel { x: 2, y: 2 })
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn full_columns_stay_one_run_where_they_meet() {
        let crop = Rle::full(size(3, 2)).unwrap();
        let placed = crop.place_in(size(3, 4), Pixel { x: 1, y: 0 }).unwrap();
        assert_eq!(placed.runs(), [3, 6, 3]);
    }

    #[test]
    fn crops_that_stick_out_are_refused() {
        let crop = Rle::full(size(3, 2)).unwrap();
        for origin in [
            Pixel { x: 3, y: 0 },
            Pixel { x: 0, y: 1 },
            Pixel { x: u32::MAX, y: 0 },
        ] {
            assert!(crop.place_in(size(3, 4), origin).is_err(), "{origin:?}");
        }
    }
}
