//! Random masks for the unit tests of this folder.

use super::bbox::Size;
use super::rle::Rle;

/// Marsaglia's xorshift64: seeded, and good enough for tests.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(super) fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (((self.0 >> 32) * u64::from(bound)) >> 32) as u32
    }

    pub(super) fn size(&mut self, limit: u32) -> Size {
        Size {
            height: 1 + self.below(limit),
            width: 1 + self.below(limit),
        }
    }

    /// A row-major bitmap of random bytes, with a random share of nonzero ones.
    pub(super) fn bitmap(&mut self, size: Size) -> Vec<u8> {
        let density = [0, 5, 30, 50, 70, 95, 100][self.below(7) as usize];
        (0..size.height * size.width)
            .map(|_| {
                if self.below(100) < density {
                    1 + self.below(255) as u8
                } else {
                    0
                }
            })
            .collect()
    }

    pub(super) fn mask(&mut self, size: Size) -> Rle {
        Rle::from_row_major(size, &self.bitmap(size)).unwrap()
    }
}

/// The mask drawn as rows of `#` and `.`.
pub(super) fn drawn(rows: &[&str]) -> Rle {
    let size = Size {
        height: rows.len() as u32,
        width: rows.first().map_or(0, |row| row.len() as u32),
    };
    let bitmap: Vec<u8> = rows
        .concat()
        .bytes()
        .map(|byte| u8::from(byte == b'#'))
        .collect();
    Rle::from_row_major(size, &bitmap).unwrap()
}
