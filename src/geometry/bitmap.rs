//! Converts row-major bitmaps to column-major runs and back, without a transposed copy.
//!
//! Images are row-major, COCO's runs column-major. A run begins or ends exactly where a pixel differs from the one
//! above it or, in the top row, from the bottom of the column to the left. Both directions work on these changes and
//! access the bitmap in memory order only.

#![allow(
    clippy::indexing_slicing,
    reason = "pixels and columns of a bitmap that was made, or checked, for the size"
)]

use super::bbox::Size;
use super::spans::spans;

/// The runs of a row-major bitmap of `size`; any nonzero byte is foreground.
pub(super) fn runs_from_row_major(bitmap: &[u8], size: Size) -> Vec<u32> {
    let (height, width) = (size.height as usize, size.width as usize);
    let Some(bottom_row) = bitmap.len().checked_sub(width).filter(|_| width > 0) else {
        return vec![0];
    };
    let (_, bottom_row) = bitmap.split_at(bottom_row);

    // Changes as (column, row), in order of rows. They are then counted and distributed by column.
    let mut changes: Vec<(u32, u32)> = Vec::with_capacity(4 * height);
    let left_of_top = std::iter::once(&0).chain(bottom_row);
    for (x, (left, top)) in left_of_top.zip(bitmap.iter().take(width)).enumerate() {
        if (*left != 0) != (*top != 0) {
            changes.push((x as u32, 0));
        }
    }
    let below = bitmap.chunks_exact(width).skip(1);
    for (y, (above, row)) in bitmap.chunks_exact(width).zip(below).enumerate() {
        push_row_changes(above, row, y as u32 + 1, &mut changes);
    }

    let mut next_in_column = vec![0u32; width + 1];
    for &(x, _) in &changes {
        next_in_column[x as usize + 1] += 1;
    }
    let mut before = 0;
    for count in &mut next_in_column {
        before += *count;
        *count = before;
    }
    let mut boundaries = vec![0u32; changes.len()];
    for &(x, y) in &changes {
        let slot = &mut next_in_column[x as usize];
        boundaries[*slot as usize] = x * size.height + y;
        *slot += 1;
    }

    // In place, each boundary becomes the length of the run that ends at it.
    let mut previous = 0;
    for boundary in &mut boundaries {
        let length = *boundary - previous;
        previous = *boundary;
        *boundary = length;
    }
    boundaries.push(size.height * size.width - previous);
    boundaries
}

/// Appends `(x, y)` for each column in which row `y` differs from the row above.
fn push_row_changes(above: &[u8], row: &[u8], y: u32, changes: &mut Vec<(u32, u32)>) {
    let (above_blocks, above_rest) = above.as_chunks::<32>();
    let (row_blocks, row_rest) = row.as_chunks::<32>();
    for (block, (a, b)) in above_blocks.iter().zip(row_blocks).enumerate() {
        if a == b {
            continue;
        }
        let words = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
        for (word, (a, b)) in words.enumerate() {
            let mut marks = nonzero_bytes(*a) ^ nonzero_bytes(*b);
            while marks != 0 {
                let byte = marks.trailing_zeros() / 8;
                changes.push(((block * 32 + word * 8) as u32 + byte, y));
                marks &= marks - 1;
            }
        }
    }
    let first = above_blocks.len() * 32;
    for (x, (a, b)) in above_rest.iter().zip(row_rest).enumerate() {
        if (*a != 0) != (*b != 0) {
            changes.push(((first + x) as u32, y));
        }
    }
}

/// A word whose byte i has only its top bit set if byte i of the input is nonzero, and no bit otherwise.
fn nonzero_bytes(bytes: [u8; 8]) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let word = u64::from_le_bytes(bytes);
    (((word & LOW) + LOW) | word) & !LOW
}

/// The row-major bitmap of runs: 1 for foreground, 0 for background.
pub(super) fn row_major_from_runs(runs: &[u32], size: Size) -> Vec<u8> {
    let (height, width) = (size.height as usize, size.width as usize);
    let mut bitmap = vec![0u8; height * width];
    if bitmap.is_empty() {
        return bitmap;
    }
    // Mark the first pixel of a span in each column and the first pixel below it. A running xor down the rows then
    // fills the span.
    for (start, end) in spans(runs) {
        let (mut x, mut top) = (start / size.height, start % size.height);
        let mut left = end - start;
        while left > 0 {
            let length = left.min(size.height - top);
            let bottom = top + length;
            bitmap[top as usize * width + x as usize] ^= 1;
            if bottom < size.height {
                bitmap[bottom as usize * width + x as usize] ^= 1;
            }
            left -= length;
            x += 1;
            top = 0;
        }
    }
    let mut rest = bitmap.as_mut_slice();
    while rest.len() > width {
        let (above, below) = rest.split_at_mut(width);
        for (a, b) in above.iter().zip(below.iter_mut()) {
            *b ^= *a;
        }
        rest = below;
    }
    bitmap
}
