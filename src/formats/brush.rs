//! Label Studio's run lengths of brush masks.
//!
//! A mask is an image of red, green, blue and alpha, row by row, 255 where it is painted and 0 elsewhere; alpha is what counts.
//! Its bytes are coded as bits, the highest first (label_studio_sdk.converter.brush, encode_rle):
//!
//! ```text
//! 32 bits   number of values: 4 x width x height
//!  5 bits   bits of a value, less 1: 7
//!  4 x 4    bits of the lengths of runs, less 1: 2, 3, 7, 15
//! then, until all values are there:
//!  1 bit    1: a value that is repeated; 0: values that follow each other
//!  2 bits   which of the four is the length's
//!  n bits   the length, less 1
//!  8 bits   the value, or as many values as the length says
//! ```

use crate::error::{Error, Result};
use crate::geometry::{Pixel, Rle, Size};

/// Bits of the lengths of runs, as Label Studio writes them.
const SIZES: [u32; 4] = [3, 4, 8, 16];
/// Bits of a value.
const WORD: u32 = 8;
/// Values of a pixel: red, green, blue, alpha.
const CHANNELS: u64 = 4;
/// A value of a painted pixel.
const PAINTED: u8 = 255;
/// Least alpha of a pixel that belongs to a mask.
const LEAST_ALPHA: u32 = 1;

/// The bytes of a mask.
pub fn encode(mask: &Rle) -> Vec<u8> {
    let Size { height, width } = mask.size();
    let pixels = u64::from(height) * u64::from(width);
    let mut bits = Bits::default();
    bits.write(pixels * CHANNELS, 32);
    bits.write(u64::from(WORD - 1), 5);
    for size in SIZES {
        bits.write(u64::from(size - 1), 4);
    }
    let [left, top, columns, rows] = mask.bbox().to_xywh().map(|side| side as u32);
    let window = Size {
        height: rows,
        width: columns,
    };
    let inside = mask.window(Pixel { x: left, y: top }, window);
    let mut runs = Runs {
        bits,
        value: 0,
        length: 0,
    };
    runs.push(0, u64::from(top) * u64::from(width));
    let right = u64::from(width.saturating_sub(left + columns));
    for row in inside.chunks_exact(columns.max(1) as usize) {
        runs.push(0, u64::from(left));
        for same in row.chunk_by(|a, b| a == b) {
            runs.push(same.first().copied().unwrap_or(0), same.len() as u64);
        }
        runs.push(0, right);
    }
    runs.push(
        0,
        u64::from(height.saturating_sub(top + rows)) * u64::from(width),
    );
    runs.finish()
}

/// Runs of pixels that become runs of values.
struct Runs {
    bits: Bits,
    value: u8,
    length: u64,
}

impl Runs {
    fn push(&mut self, value: u8, length: u64) {
        if value == self.value {
            self.length += length;
        } else if length > 0 {
            self.end();
            (self.value, self.length) = (value, length);
        }
    }

    fn end(&mut self) {
        let value = if self.value == 0 { 0 } else { PAINTED };
        let mut left = self.length * CHANNELS;
        while left > 0 {
            let places = SIZES.iter().zip(0u64..);
            let mut fitting = places.filter(|(size, _)| left <= 1 << **size);
            let (size, place) = fitting.next().unwrap_or((&SIZES[3], 3));
            let length = left.min(1 << size);
            self.bits.write(1, 1);
            self.bits.write(place, 2);
            self.bits.write(length - 1, *size);
            self.bits.write(u64::from(value), WORD);
            left -= length;
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.end();
        self.bits.bytes
    }
}

/// The mask of an image of a size from its bytes.
///
/// # Errors
/// [`Error::Annotation`] for bytes that are cut off, or of an image of another size.
pub fn decode(bytes: &[u8], size: Size) -> Result<Rle> {
    let bad = |reason: String| Error::Annotation { reason };
    let cut = || bad(format!("its {} bytes of rle end too early", bytes.len()));
    let mut bits = Reader { bytes, at: 0 };
    let values = u64::from(bits.read(32).ok_or_else(cut)?);
    let pixels = u64::from(size.pixels()?);
    if values != pixels * CHANNELS {
        return Err(bad(format!(
            "its rle is of {values} values, expected 4 for each of the {} x {} pixels",
            size.width, size.height
        )));
    }
    let word = bits.read(5).ok_or_else(cut)? + 1;
    let mut sizes = [0; 4];
    for size in &mut sizes {
        *size = bits.read(4).ok_or_else(cut)? + 1;
    }
    let mut bitmap = vec![0u8; usize::try_from(pixels).unwrap_or(0)];
    let mut at = 0;
    let mut paint = |from: u64, to: u64, value: u32| {
        if value < LEAST_ALPHA {
            return;
        }
        // Alpha is the last of a pixel's four values.
        let first = from.saturating_sub(CHANNELS - 1).div_ceil(CHANNELS);
        let range = first as usize..(to / CHANNELS) as usize;
        bitmap
            .get_mut(range)
            .into_iter()
            .flatten()
            .for_each(|pixel| *pixel = 1);
    };
    while at < values {
        let is_run = bits.read(1).ok_or_else(cut)? == 1;
        let which = bits.read(2).ok_or_else(cut)? as usize;
        let size = sizes.get(which).copied().unwrap_or(1);
        let end = values.min(at + u64::from(bits.read(size).ok_or_else(cut)?) + 1);
        if is_run {
            paint(at, end, bits.read(word).ok_or_else(cut)?);
            at = end;
        } else {
            while at < end {
                paint(at, at + 1, bits.read(word).ok_or_else(cut)?);
                at += 1;
            }
        }
    }
    Rle::from_row_major(size, &bitmap)
}

/// Bits that are written, the highest of a byte first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    /// Bits of the last byte that are taken; 0 if it is full.
    used: u32,
}

impl Bits {
    fn write(&mut self, value: u64, count: u32) {
        for bit in (0..count).rev() {
            if self.used == 0 {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> bit & 1) as u8) << (7 - self.used);
            }
            self.used = (self.used + 1) % 8;
        }
    }
}

/// Bits that are read.
struct Reader<'a> {
    bytes: &'a [u8],
    /// Number of bits that were read.
    at: usize,
}

impl Reader<'_> {
    /// The next `count` bits, at most 32; `None` at the end.
    fn read(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_come_back() {
        let mut random = fastrand::Rng::with_seed(5);
        for n in 0..300 {
            let size = Size {
                height: random.u32(1..40),
                width: random.u32(1..40),
            };
            let threshold = random.u8(..);
            let pixels = size.height as usize * size.width as usize;
            let bitmap: Vec<u8> = match n {
                0 => vec![1; pixels],
                1 => vec![0; pixels],
                _ => (0..pixels)
                    .map(|_| u8::from(random.u8(..) < threshold))
                    .collect(),
            };
            let mask = Rle::from_row_major(size, &bitmap).unwrap();
            assert_eq!(decode(&encode(&mask), size).unwrap(), mask);
        }
    }

    #[test]
    fn long_runs_are_cut() {
        let size = Size {
            height: 300,
            width: 400,
        };
        for mask in [Rle::full(size).unwrap(), Rle::empty(size).unwrap()] {
            assert_eq!(decode(&encode(&mask), size).unwrap(), mask);
        }
    }

    #[test]
    fn damage_is_found() {
        let size = Size {
            height: 20,
            width: 30,
        };
        let bytes = encode(&Rle::full(size).unwrap());
        let half = bytes.get(..bytes.len() - 2).unwrap();
        assert!(
            decode(half, size)
                .unwrap_err()
                .to_string()
                .contains("end too early")
        );
        let other = Size {
            height: 30,
            width: 30,
        };
        let said = decode(&bytes, other).unwrap_err().to_string();
        assert!(
            said.contains("2400 values, expected 4 for each of the 30 x 30 pixels"),
            "{said}"
        );
    }
}
