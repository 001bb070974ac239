//! Resizes 8-bit images exactly as Pillow's antialiased bilinear filter (upstream: python-pillow,
//! `src/libImaging/Resample.c`).
//!
//! Weights are integers in units of 2^-22. Columns are resized first and rounded to bytes, then rows. Libraries with
//! coarser weights differ by one level in a quarter of all pixels, which changes the image embedding noticeably.

use rayon::prelude::*;

use crate::geometry::Size;

/// Fractional bits of a weight.
const PRECISION: u32 = 22;
/// Bytes per pixel.
const CHANNELS: usize = 3;

/// The source samples that contribute to one resized sample.
struct Window {
    start: usize,
    weights: Vec<i32>,
}

/// Resizes row-major RGB bytes. Both sizes must have at least one pixel.
pub(super) fn resize_bilinear(rgb: &[u8], from: Size, to: Size) -> Vec<u8> {
    let (from_width, to_width) = (from.width as usize, to.width as usize);
    let narrowed = if from_width == to_width {
        rgb.to_vec()
    } else {
        resize_columns(rgb, from_width, to_width)
    };
    if from.height == to.height {
        narrowed
    } else {
        resize_rows(
            &narrowed,
            to_width,
            from.height as usize,
            to.height as usize,
        )
    }
}

fn resize_columns(rgb: &[u8], from: usize, to: usize) -> Vec<u8> {
    let windows = windows(from, to);
    let rows = rgb.len() / (from * CHANNELS);
    let mut resized = vec![0u8; rows * to * CHANNELS];
    let target = resized.par_chunks_exact_mut(to * CHANNELS);
    target
        .zip(rgb.par_chunks_exact(from * CHANNELS))
        .for_each(|(target, source)| {
            let (source, _) = source.as_chunks::<CHANNELS>();
            let (target, _) = target.as_chunks_mut::<CHANNELS>();
            for (pixel, window) in target.iter_mut().zip(&windows) {
                let samples = source.iter().skip(window.start);
                let mut sums = [1i32 << (PRECISION - 1); CHANNELS];
                for (sample, weight) in samples.zip(&window.weights) {
                    for (sum, level) in sums.iter_mut().zip(sample) {
                        *sum += i32::from(*level) * weight;
                    }
                }
                *pixel = sums.map(level);
            }
        });
    resized
}

fn resize_rows(rgb: &[u8], width: usize, from: usize, to: usize) -> Vec<u8> {
    let windows = windows(from, to);
    let line = width * CHANNELS;
    let mut resized = vec![0u8; to * line];
    let target = resized.par_chunks_exact_mut(line).zip(&windows);
    target.for_each(|(target, window)| {
        let mut sums = vec![1i32 << (PRECISION - 1); line];
        let rows = rgb.chunks_exact(line).skip(window.start);
        for (row, weight) in rows.zip(&window.weights) {
            for (sum, level) in sums.iter_mut().zip(row) {
                *sum += i32::from(*level) * weight;
            }
        }
        for (byte, sum) in target.iter_mut().zip(sums) {
            *byte = level(sum);
        }
    });
    resized
}

fn level(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// The window of each sample of an axis that is resized from `from` to `to` samples: a triangle as wide as two target
/// samples, or as two source samples if the axis grows.
fn windows(from: usize, to: usize) -> Vec<Window> {
    let scale = from as f64 / to as f64;
    let support = scale.max(1.0);
    let window = |index: usize| {
        let centre = (index as f64 + 0.5) * scale;
        let start = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(from);
        let weight = |i: usize| {
            let distance = ((i as f64 - centre + 0.5) / support).abs();
            (1.0 - distance).max(0.0)
        };
        let total: f64 = (start..end).map(weight).sum();
        let unit = f64::from(1u32 << PRECISION);
        Window {
            start,
            weights: (start..end)
                .map(|i| (0.5 + weight(i) / total * unit) as i32)
                .collect(),
        }
    };
    (0..to).map(window).collect()
}
