//! Column segments: a mask's spans cut at the ends of columns, and how they are connected.

#![allow(
    clippy::indexing_slicing,
    reason = "a forest over the segments: every entry is the index of a segment"
)]

use super::bbox::Size;
use super::rle::Rle;
use super::spans::{RunBuilder, spans};

/// The neighbours of a pixel that belong to the same part of a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connectivity {
    /// Left, right, above, below.
    Four,
    /// These and the four diagonal ones.
    Eight,
}

/// Foreground rows `top..bottom` of column `x`, with background or the image's edge at both ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) x: u32,
    pub(super) top: u32,
    pub(super) bottom: u32,
}

/// The segments of a mask, ordered by column and then by row.
pub(super) fn segments(mask: &Rle) -> Vec<Segment> {
    let height = mask.size().height;
    let mut segments = Vec::with_capacity(mask.runs().len() / 2 + 1);
    for (start, end) in spans(mask.runs()) {
        let (mut x, mut top) = (start / height, start % height);
        let mut left = end - start;
        while left > 0 {
            let length = left.min(height - top);
            segments.push(Segment {
                x,
                top,
                bottom: top + length,
            });
            left -= length;
            x += 1;
            top = 0;
        }
    }
    segments
}

/// Builds a mask from some of its segments, which must be in order.
pub(super) fn mask_from_segments<'a>(
    size: Size,
    pixels: u32,
    segments: impl Iterator<Item = &'a Segment>,
) -> Rle {
    let mut builder = RunBuilder::default();
    for segment in segments {
        let column = segment.x * size.height;
        builder.push(column + segment.top, column + segment.bottom);
    }
    Rle::from_canonical(size, builder.finish(pixels))
}

/// The number of the connected part of each segment. Parts are numbered from 0 in the order of their first segments.
pub(super) struct Parts {
    pub(super) part_of: Vec<usize>,
    pub(super) count: usize,
}

/// Finds the connected parts of a mask's segments.
pub(super) fn connected_parts(segments: &[Segment], connectivity: Connectivity) -> Parts {
    let mut roots: Vec<usize> = (0..segments.len()).collect();
    let gap = match connectivity {
        Connectivity::Four => 0,
        Connectivity::Eight => 1,
    };
    let mut columns = segments.chunk_by(|a, b| a.x == b.x);
    let (mut previous, mut previous_start) = (columns.next().unwrap_or_default(), 0);
    for column in columns {
        let start = previous_start + previous.len();
        if adjacent(previous, column) {
            let (mut i, mut j) = (0, 0);
            while let (Some(a), Some(b)) = (previous.get(i), column.get(j)) {
                if a.top < b.bottom + gap && b.top < a.bottom + gap {
                    join(&mut roots, previous_start + i, start + j);
                }
                if a.bottom <= b.bottom {
                    i += 1;
                } else {
                    j += 1;
                }
            }
        }
        (previous, previous_start) = (column, start);
    }

    // A root is the first segment of its part, so it has a number before other segments need it.
    let mut part_of = vec![0; segments.len()];
    let mut count = 0;
    for segment in 0..segments.len() {
        let root = find(&mut roots, segment);
        if root == segment {
            part_of[segment] = count;
            count += 1;
        } else {
            part_of[segment] = part_of[root];
        }
    }
    Parts { part_of, count }
}

/// Whether the second column is directly to the right of the first.
fn adjacent(left: &[Segment], right: &[Segment]) -> bool {
    match (left.first(), right.first()) {
        (Some(left), Some(right)) => left.x + 1 == right.x,
        _ => false,
    }
}

fn find(roots: &mut [usize], mut segment: usize) -> usize {
    while roots[segment] != segment {
        roots[segment] = roots[roots[segment]];
        segment = roots[segment];
    }
    segment
}

fn join(roots: &mut [usize], a: usize, b: usize) {
    let (a, b) = (find(roots, a), find(roots, b));
    roots[a.max(b)] = a.min(b);
}
