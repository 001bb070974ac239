//! Resizes RGB bytes to floats, channel by channel, without rounding in between (upstream: torch's
//! `interpolate(antialias=True)`, which has the filters of Pillow).

use rayon::prelude::*;

use super::pillow::Filter;
use crate::geometry::Size;

/// The source samples that contribute to one resized sample.
struct Window {
    start: usize,
    weights: Vec<f32>,
}

/// Resizes row-major RGB bytes. Both sizes must have at least one pixel.
///
/// # Shapes
/// - output: `[3, to.height, to.width]`, in units of [0, 255]
pub(in crate::models) fn resize_planes(
    rgb: &[u8],
    from: Size,
    to: Size,
    filter: Filter,
) -> Vec<f32> {
    let [from_width, width] = [from.width, to.width].map(|side| side as usize);
    let [from_height, height] = [from.height, to.height].map(|side| side as usize);
    let columns = windows(from_width, width, filter);
    let rows = windows(from_height, height, filter);
    let mut resized = vec![0f32; 3 * height * width];
    let planes = resized.chunks_exact_mut(height * width);
    for (channel, plane) in planes.enumerate() {
        let mut narrowed = vec![0f32; from_height * width];
        narrowed
            .par_chunks_exact_mut(width)
            .zip(rgb.par_chunks_exact(3 * from_width))
            .for_each(|(line, row)| {
                let levels = row.iter().skip(channel).step_by(3);
                let levels: Vec<f32> = levels.map(|level| f32::from(*level)).collect();
                for (value, window) in line.iter_mut().zip(&columns) {
                    let samples = levels.get(window.start..).unwrap_or_default();
                    let pairs = samples.iter().zip(&window.weights);
                    *value = pairs.map(|(level, weight)| level * weight).sum();
                }
            });
        plane
            .par_chunks_exact_mut(width)
            .zip(&rows)
            .for_each(|(line, window)| {
                let lines = narrowed.chunks_exact(width).skip(window.start);
                for (row, weight) in lines.zip(&window.weights) {
                    for (sum, value) in line.iter_mut().zip(row) {
                        *sum += value * weight;
                    }
                }
            });
    }
    resized
}

fn windows(from: usize, to: usize, filter: Filter) -> Vec<Window> {
    let spans = (0..to).map(|index| filter.span(index, from, to));
    spans
        .map(|(start, weights)| Window {
            start,
            weights: weights.into_iter().map(|weight| weight as f32).collect(),
        })
        .collect()
}
