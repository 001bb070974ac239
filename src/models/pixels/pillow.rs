//! Resizes 8-bit images exactly as Pillow's antialiased bilinear and bicubic filters (upstream: python-pillow,
//! `src/libImaging/Resample.c`).
//!
//! Weights are integers in units of 2^-22. Columns are resized first and rounded to bytes, then rows. Libraries with
//! coarser weights differ by one level in a quarter of all pixels, which changes the image embedding noticeably.

use std::ops::Range;

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

/// A filter of Pillow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::models) enum Filter {
    /// A triangle.
    Bilinear,
    /// Cubic convolution with a = -0.5.
    Bicubic,
}

impl Filter {
    /// Half the width, in target samples.
    fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    /// The weight at a distance in target samples.
    fn weight(self, distance: f64) -> f64 {
        const A: f64 = -0.5;
        let x = distance.abs();
        match self {
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            Self::Bicubic => 0.0,
        }
    }

    /// The samples that contribute to a sample of an axis that is resized from `from` to `to` samples: the first, and their
    /// weights, whose sum is 1. They lie as far apart as the filter is wide in target samples, or in source samples if the axis
    /// grows.
    pub(super) fn span(self, index: usize, from: usize, to: usize) -> (usize, Vec<f64>) {
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let support = self.support() * stretch;
        let centre = (index as f64 + 0.5) * scale;
        let start = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(from);
        let weight = |i: usize| self.weight((i as f64 - centre + 0.5) / stretch);
        let total: f64 = (start..end).map(weight).sum();
        (start, (start..end).map(|i| weight(i) / total).collect())
    }
}

/// Resizes row-major RGB bytes. Both sizes must have at least one pixel.
pub(in crate::models) fn resize(rgb: &[u8], from: Size, to: Size, filter: Filter) -> Vec<u8> {
    let part = [0..to.height as usize, 0..to.width as usize];
    resize_part(rgb, from, to, part, filter)
}

/// Like [`resize`], but makes only some rows and columns of the result: those of `part`.
pub(in crate::models) fn resize_part(
    rgb: &[u8],
    from: Size,
    to: Size,
    part: [Range<usize>; 2],
    filter: Filter,
) -> Vec<u8> {
    let [rows, columns] = part;
    let from_width = from.width as usize;
    let is_whole =
        |range: &Range<usize>, from: u32, to: u32| from == to && *range == (0..to as usize);
    let width = columns.len();
    let narrowed = if is_whole(&columns, from.width, to.width) {
        rgb.to_vec()
    } else {
        let windows = windows(from_width, to.width as usize, columns, filter);
        resize_columns(rgb, &windows, from_width)
    };
    if is_whole(&rows, from.height, to.height) {
        narrowed
    } else {
        let windows = windows(from.height as usize, to.height as usize, rows, filter);
        resize_rows(&narrowed, &windows, width)
    }
}

fn resize_columns(rgb: &[u8], windows: &[Window], from: usize) -> Vec<u8> {
    let to = windows.len();
    let rows = rgb.len() / (from * CHANNELS);
    let mut resized = vec![0u8; rows * to * CHANNELS];
    let target = resized.par_chunks_exact_mut(to * CHANNELS);
    target
        .zip(rgb.par_chunks_exact(from * CHANNELS))
        .for_each(|(target, source)| {
            let (source, _) = source.as_chunks::<CHANNELS>();
            let (target, _) = target.as_chunks_mut::<CHANNELS>();
            for (pixel, window) in target.iter_mut().zip(windows) {
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

fn resize_rows(rgb: &[u8], windows: &[Window], width: usize) -> Vec<u8> {
    let line = width * CHANNELS;
    let mut resized = vec![0u8; windows.len() * line];
    let target = resized.par_chunks_exact_mut(line).zip(windows);
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

fn windows(from: usize, to: usize, samples: Range<usize>, filter: Filter) -> Vec<Window> {
    let unit = f64::from(1u32 << PRECISION);
    let fixed = |weight: f64| (weight * unit).round() as i32;
    let spans = samples.map(|index| filter.span(index, from, to));
    spans
        .map(|(start, weights)| Window {
            start,
            weights: weights.into_iter().map(fixed).collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::*;

    #[test]
    fn bicubic_is_pillows_byte_for_byte() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/embed/");
        let bytes = std::fs::read(format!("{folder}pixels_reference.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let mut compared = 0;
        for photo in ["photo_a", "photo_b"] {
            let image = image::open(format!("{folder}{photo}.png"))
                .unwrap()
                .to_rgb8();
            let from = Size {
                height: image.height(),
                width: image.width(),
            };
            for name in tensors.names() {
                let Some(size) = name.strip_prefix(&format!("{photo}.bicubic.")) else {
                    continue;
                };
                let (width, height) = size.split_once('x').unwrap();
                let to = Size {
                    height: height.parse().unwrap(),
                    width: width.parse().unwrap(),
                };
                let found = resize(image.as_raw(), from, to, Filter::Bicubic);
                assert_eq!(found, tensors.tensor(name).unwrap().data(), "{name}");
                compared += 1;
            }
        }
        assert!(compared >= 10, "{compared}");
    }
}
