//! Follows the outlines of a mask along the cracks between its pixels, on runs alone.
//!
//! An outline alternates between vertical and horizontal lines, so its vertical edges determine it. Sorted along one
//! row of pixel corners, the ends of vertical edges pair up, and each pair marks the two ends of a horizontal line.
//! Therefore only vertical edges are collected (column against next column), paired and chained.

#![allow(
    clippy::indexing_slicing,
    reason = "edges name each other by the indices that this module gave them"
)]

use std::collections::{HashMap, HashSet};

use super::rle::Rle;
use super::segments::{Connectivity, Segment, connected_parts, segments};

/// Corners of a closed outline as `[x, y]` in pixels. The last one connects to the first.
pub type Ring = Vec<[f64; 2]>;

/// A pixel corner: x, y.
type Corner = (u32, u32);

/// A vertical piece of an outline, with foreground on one side only. It is directed so that the foreground is to the
/// right: up on the left side of a part, down on its right side.
struct Edge {
    x: u32,
    from: u32,
    to: u32,
    part: usize,
}

/// One end of an edge. The order of ends is the order in which they pair up.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct EdgeEnd {
    y: u32,
    x: u32,
    /// If two parts or holes meet diagonally, two edges share a corner. The edge whose foreground pixel is on the left
    /// pairs to the left, so that an outline stays with its pixel. This makes the foreground 4-connected.
    pairs_right: bool,
    edge: usize,
    arriving: bool,
}

/// The rings of each 4-connected part, in the order of parts. Exteriors and holes are both included.
pub(super) fn rings_of_parts(mask: &Rle) -> Vec<Vec<Ring>> {
    let segments = segments(mask);
    let parts = connected_parts(&segments, Connectivity::Four);
    let edges = vertical_edges(&segments, &parts.part_of);
    let links = link(&edges);
    let mut rings = vec![Vec::new(); parts.count];
    let mut visited = vec![false; edges.len()];
    for first in 0..edges.len() {
        let mut corners = Vec::new();
        let mut at = first;
        while !visited[at] {
            visited[at] = true;
            let edge = &edges[at];
            corners.extend([(edge.x, edge.from), (edge.x, edge.to)]);
            at = links.next[at];
        }
        if !corners.is_empty() {
            split_at_pinches(&corners, &links.pinches, &mut rings[edges[first].part]);
        }
    }
    rings
}

const NONE: &[Segment] = &[];

/// The vertical edges between each column and the one to its left.
fn vertical_edges(segments: &[Segment], part_of: &[usize]) -> Vec<Edge> {
    let mut edges = Vec::with_capacity(2 * segments.len());
    let mut left = NONE;
    let mut left_parts: &[usize] = &[];
    let mut parts_rest = part_of;
    for column in segments.chunk_by(|a, b| a.x == b.x) {
        let (parts, rest) = parts_rest.split_at(column.len());
        parts_rest = rest;
        let Some(x) = column.first().map(|segment| segment.x) else {
            continue;
        };
        let touching = left.first().is_some_and(|segment| segment.x + 1 == x);
        let (right_of_left, left_of_column) = if touching {
            (column, left)
        } else {
            (NONE, NONE)
        };
        close_right_side(left, left_parts, right_of_left, &mut edges);
        uncovered(column, parts, left_of_column, |part, top, bottom| {
            edges.push(Edge {
                x,
                from: bottom,
                to: top,
                part,
            });
        });
        (left, left_parts) = (column, parts);
    }
    close_right_side(left, left_parts, NONE, &mut edges);
    edges
}

/// Appends the edges on the right side of a column, given the column to its right.
fn close_right_side(column: &[Segment], parts: &[usize], right: &[Segment], edges: &mut Vec<Edge>) {
    let Some(x) = column.first().map(|segment| segment.x + 1) else {
        return;
    };
    uncovered(column, parts, right, |part, from, to| {
        edges.push(Edge { x, from, to, part });
    });
}

/// Calls `emit(part, top, bottom)` for each range of rows of `column` that `other` does not cover.
fn uncovered(
    column: &[Segment],
    parts: &[usize],
    other: &[Segment],
    mut emit: impl FnMut(usize, u32, u32),
) {
    let mut others = other.iter().copied().peekable();
    for (segment, &part) in column.iter().zip(parts) {
        let mut top = segment.top;
        while let Some(cover) = others.peek() {
            if cover.top >= segment.bottom {
                break;
            }
            if cover.top > top {
                emit(part, top, cover.top);
            }
            top = top.max(cover.bottom);
            // A cover that reaches further down may also cover the next segment.
            if cover.bottom > segment.bottom {
                break;
            }
            others.next();
        }
        if top < segment.bottom {
            emit(part, top, segment.bottom);
        }
    }
}

/// The order of edges along outlines.
struct Links {
    /// For each edge, the next edge of its outline.
    next: Vec<usize>,
    /// Corners at which two edges begin, or two end.
    pinches: HashSet<Corner>,
}

fn link(edges: &[Edge]) -> Links {
    let mut ends = Vec::with_capacity(2 * edges.len());
    for (index, edge) in edges.iter().enumerate() {
        for (y, arriving) in [(edge.from, false), (edge.to, true)] {
            let edge_is_below = y == edge.from.min(edge.to);
            ends.push(EdgeEnd {
                y,
                x: edge.x,
                pairs_right: edge_is_below == arriving,
                edge: index,
                arriving,
            });
        }
    }
    ends.sort_unstable();
    let mut next = vec![0; edges.len()];
    for pair in ends.chunks_exact(2) {
        let [a, b] = pair else { continue };
        let (arriving, leaving) = if a.arriving { (a, b) } else { (b, a) };
        next[arriving.edge] = leaving.edge;
    }
    let mut pinches = HashSet::new();
    for pair in ends.windows(2) {
        if let [a, b] = pair
            && (a.x, a.y) == (b.x, b.y)
        {
            pinches.insert((a.x, a.y));
        }
    }
    Links { next, pinches }
}

/// Cuts a closed outline into rings that pass each corner only once.
fn split_at_pinches(outline: &[Corner], pinches: &HashSet<Corner>, rings: &mut Vec<Ring>) {
    let mut open: Vec<Corner> = Vec::with_capacity(outline.len());
    let mut position_of: HashMap<Corner, usize> = HashMap::new();
    for &corner in outline {
        if pinches.contains(&corner) {
            if let Some(&start) = position_of.get(&corner)
                && open.get(start) == Some(&corner)
            {
                rings.push(ring(open.get(start..).unwrap_or_default()));
                open.truncate(start);
            }
            position_of.insert(corner, open.len());
        }
        open.push(corner);
    }
    rings.push(ring(&open));
}

/// A ring that starts at its smallest corner, ordered by (x, y).
fn ring(corners: &[Corner]) -> Ring {
    let first = (0..corners.len()).min_by_key(|&index| corners.get(index));
    let (head, tail) = corners.split_at(first.unwrap_or_default());
    tail.iter()
        .chain(head)
        .map(|&(x, y)| [f64::from(x), f64::from(y)])
        .collect()
}
