//! The mask type: COCO run-length encoding, always valid and canonical, with its codecs.
//!
//! The format is COCO's, as specified in pycocotools' `mask.py`. Pixels are numbered down the columns: pixel (x, y) has
//! number `y + height * x`. The mask is the list of its run lengths in that order, background first, so a mask whose
//! pixel 0 is foreground starts with a run of 0. The compressed form writes each length (from the fourth on, its
//! difference from the length two before) in groups of five bits, lowest first, as the characters '0' to 'o'.
//!
//! In: bitmaps, run lists, compressed counts. Out: the same, and area, box and membership. Set algebra is in `merge`,
//! overlap in `overlap`.

use std::hash::{Hash, Hasher};

use hotcoco::mask;

use super::bbox::{BBox, Pixel, Size};
use super::bitmap::{row_major_from_runs, runs_from_row_major};
use super::spans::{RunBuilder, spans};
use crate::error::{Error, Result};

/// A binary mask of one image as COCO run-length encoding.
///
/// Invariants: runs start with background and alternate; they sum to exactly `height * width`, which is at most
/// `u32::MAX`; no run is 0 except a leading one; the mask of an image without pixels is `[0]`. Therefore equal masks
/// are equal values.
#[derive(Clone, Debug, PartialEq)]
pub struct Rle {
    inner: hotcoco::Rle,
}

impl Eq for Rle {}

impl Hash for Rle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.size().hash(state);
        self.inner.counts.hash(state);
    }
}

impl Rle {
    /// The mask without foreground.
    ///
    /// # Errors
    /// [`Error::MaskTooLarge`] if the image has more than `u32::MAX` pixels.
    pub fn empty(size: Size) -> Result<Self> {
        let pixels = size.pixels()?;
        Ok(Self::from_canonical(size, vec![pixels]))
    }

    /// The mask whose pixels are all foreground.
    ///
    /// # Errors
    /// [`Error::MaskTooLarge`] if the image has more than `u32::MAX` pixels.
    pub fn full(size: Size) -> Result<Self> {
        Ok(Self::empty(size)?.complement())
    }

    /// Encodes a column-major bitmap with one byte per pixel. Any nonzero byte is foreground.
    ///
    /// # Examples
    /// ```
    /// use grainstore::geometry::{BBox, Pixel, Rle, Size};
    ///
    /// let size = Size { height: 3, width: 2 };
    /// let mask = Rle::from_bitmap(size, &[0, 1, 1, 0, 0, 1])?; // two columns of three pixels
    /// assert_eq!(mask.runs(), [1, 2, 2, 1]);
    /// assert_eq!(mask.area(), 3);
    /// assert_eq!(mask.bbox(), BBox::from_xywh([0.0, 1.0, 2.0, 2.0]));
    /// assert!(mask.contains(Pixel { x: 1, y: 2 }));
    /// # Ok::<(), grainstore::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::MaskTooLarge`]; [`Error::BitmapLength`] unless there is one byte per pixel.
    pub fn from_bitmap(size: Size, bitmap: &[u8]) -> Result<Self> {
        check_bitmap(size, bitmap)?;
        let inner = mask::encode(bitmap, size.height, size.width)
            .map_err(|source| Error::RleCodec { size, source })?;
        Ok(Self { inner })
    }

    /// Encodes a row-major bitmap, the layout of images, with one byte per pixel. Any nonzero byte is foreground.
    ///
    /// # Errors
    /// [`Error::MaskTooLarge`]; [`Error::BitmapLength`] unless there is one byte per pixel.
    pub fn from_row_major(size: Size, bitmap: &[u8]) -> Result<Self> {
        check_bitmap(size, bitmap)?;
        let runs = runs_from_row_major(bitmap, size);
        Ok(Self::from_canonical(size, runs))
    }

    /// Builds a mask from a list of runs, background first (COCO's uncompressed `counts`).
    ///
    /// If the runs stop before the end of the image, the rest is background (pycocotools leaves those pixels
    /// undefined). Runs of 0 are merged away.
    ///
    /// # Errors
    /// [`Error::MaskTooLarge`]; [`Error::RunsTooLong`] if the runs go past the last pixel.
    pub fn from_runs(size: Size, runs: Vec<u32>) -> Result<Self> {
        let pixels = size.pixels()?;
        // Folds without an early exit, which the compiler can vectorise.
        let total: u64 = runs.iter().map(|&run| u64::from(run)).sum();
        if total > u64::from(pixels) {
            return Err(runs_too_long(size, pixels, &runs));
        }
        let zero_inside = runs
            .iter()
            .skip(1)
            .fold(false, |found, &run| found | (run == 0));
        if total == u64::from(pixels) && !zero_inside && !runs.is_empty() {
            return Ok(Self::from_canonical(size, runs));
        }
        let mut builder = RunBuilder::default();
        for (start, end) in spans(&runs).filter(|(start, end)| start < end) {
            builder.push(start, end);
        }
        Ok(Self::from_canonical(size, builder.finish(pixels)))
    }

    /// Decodes COCO's compressed counts and normalises them as in [`Rle::from_runs`].
    ///
    /// # Errors
    /// [`Error::MaskTooLarge`]; [`Error::CountsByte`], [`Error::CountsTruncated`] and [`Error::RleCodec`] if the string
    /// is not a list of runs that fits the size.
    pub fn from_counts_str(size: Size, counts: &str) -> Result<Self> {
        size.pixels()?;
        // '0' to 'o' are the 64 values whose distance from '0' fits six bits.
        let outside = |byte: u8| byte.wrapping_sub(b'0') & 0xc0;
        if counts.bytes().fold(0, |bits, byte| bits | outside(byte)) != 0 {
            return Err(counts_byte(size, counts, |byte| outside(byte) == 0));
        }
        // The sixth bit of a character means that its run continues in the next one.
        if counts
            .bytes()
            .last()
            .is_some_and(|c| (c - b'0') & 0x20 != 0)
        {
            return Err(Error::CountsTruncated {
                size,
                length: counts.len(),
            });
        }
        let inner = mask::rle_from_string(counts, size.height, size.width)
            .map_err(|source| Error::RleCodec { size, source })?;
        Self::from_runs(size, inner.counts)
    }

    /// Wraps runs that already satisfy the type's invariants.
    pub(super) fn from_canonical(size: Size, runs: Vec<u32>) -> Self {
        debug_assert!(!runs.is_empty() && runs.iter().skip(1).all(|&run| run > 0));
        debug_assert_eq!(
            runs.iter().map(|&run| u64::from(run)).sum::<u64>(),
            u64::from(size.height) * u64::from(size.width)
        );
        Self {
            inner: hotcoco::Rle {
                h: size.height,
                w: size.width,
                counts: runs,
            },
        }
    }

    /// Compressed counts, byte for byte as pycocotools writes them.
    pub fn to_counts_string(&self) -> String {
        mask::rle_to_string(&self.inner)
    }

    /// Column-major bitmap, 1 for foreground and 0 for background.
    pub fn to_bitmap(&self) -> Vec<u8> {
        mask::decode(&self.inner)
    }

    /// Row-major bitmap, the layout of images, 1 for foreground and 0 for background.
    pub fn to_row_major(&self) -> Vec<u8> {
        row_major_from_runs(self.runs(), self.size())
    }

    /// Run lengths in pixels, column-major, background first.
    pub fn runs(&self) -> &[u32] {
        &self.inner.counts
    }

    /// Size of the image that the mask belongs to.
    pub fn size(&self) -> Size {
        Size {
            height: self.inner.h,
            width: self.inner.w,
        }
    }

    /// Number of pixels of the image. It fits `u32` by the type's invariant.
    pub(super) fn pixels(&self) -> u32 {
        self.inner.h * self.inner.w
    }

    /// Number of foreground pixels.
    pub fn area(&self) -> u64 {
        mask::area(&self.inner)
    }

    /// Smallest box around the foreground, in pixels; all zeros for an empty mask.
    pub fn bbox(&self) -> BBox {
        BBox::from_xywh(mask::to_bbox(&self.inner))
    }

    /// Whether no pixel is foreground.
    pub fn is_empty(&self) -> bool {
        self.runs().len() < 2
    }

    /// Whether a pixel is foreground. Pixels outside the image are not.
    pub fn contains(&self, pixel: Pixel) -> bool {
        let size = self.size();
        if pixel.x >= size.width || pixel.y >= size.height {
            return false;
        }
        let number = pixel.x * size.height + pixel.y;
        spans(self.runs())
            .take_while(|&(start, _)| start <= number)
            .any(|(_, end)| number < end)
    }
}

fn check_bitmap(size: Size, bitmap: &[u8]) -> Result<()> {
    let expected = size.pixels()?;
    if bitmap.len() as u64 != u64::from(expected) {
        return Err(Error::BitmapLength {
            size,
            expected,
            found: bitmap.len(),
        });
    }
    Ok(())
}

/// The error for runs that go past the last pixel.
fn runs_too_long(size: Size, expected: u32, runs: &[u32]) -> Error {
    let (mut index, mut end) = (0, 0);
    for (at, &run) in runs.iter().enumerate() {
        (index, end) = (at, end + u64::from(run));
        if end > u64::from(expected) {
            break;
        }
    }
    Error::RunsTooLong {
        size,
        index,
        end,
        expected,
    }
}

/// The error for counts that contain an invalid byte.
fn counts_byte(size: Size, counts: &str, valid: impl Fn(u8) -> bool) -> Error {
    let mut bytes = counts.bytes().enumerate();
    let (position, byte) = bytes.find(|&(_, byte)| !valid(byte)).unwrap_or_default();
    Error::CountsByte {
        size,
        position,
        byte,
    }
}

#[cfg(test)]
mod tests;
