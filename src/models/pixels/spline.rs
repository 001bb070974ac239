//! Resizes 8-bit images by cubic splines (upstream: scikit-image, `transform.resize(order=3, anti_aliasing=True)`, which calls
//! SciPy's `ndimage`).
//!
//! An axis that shrinks is blurred by a Gaussian first. Then a spline of third degree goes through the samples and is read at the
//! new ones. Beyond its ends a line goes on as in a mirror that stands on its last sample. Numbers have 64 bits, and are cut off to
//! bytes in the end, as `astype(numpy.uint8)` does.

use rayon::prelude::*;

use crate::geometry::Size;

/// Bytes per pixel.
const CHANNELS: usize = 3;
/// Standard deviations of a Gaussian beyond which it is cut off.
const CUT: f64 = 4.0;

/// Resizes row-major RGB bytes. Both sizes must have at least one pixel.
pub(in crate::models) fn resize_by_splines(rgb: &[u8], from: Size, to: Size) -> Vec<u8> {
    let columns = Axis::new(from.width as usize, to.width as usize);
    let rows = Axis::new(from.height as usize, to.height as usize);
    let lowest = f64::from(rgb.iter().copied().min().unwrap_or(0));
    let highest = f64::from(rgb.iter().copied().max().unwrap_or(0));
    let mut resized = vec![0; rows.to() * columns.to() * CHANNELS];
    for channel in 0..CHANNELS {
        let mut narrowed = vec![0.0; rows.from * columns.to()];
        let lines = narrowed.par_chunks_exact_mut(columns.to());
        lines
            .zip(rgb.par_chunks_exact(columns.from * CHANNELS))
            .for_each(|(line, row)| {
                let levels = row.iter().skip(channel).step_by(CHANNELS);
                columns.resample(levels.map(|level| f64::from(*level)), line);
            });
        // The columns, each as a line.
        let mut turned = vec![0.0; columns.to() * rows.to()];
        let lines = turned.par_chunks_exact_mut(rows.to()).enumerate();
        lines.for_each(|(x, line)| {
            let levels = narrowed.iter().skip(x).step_by(columns.to());
            rows.resample(levels.copied(), line);
        });
        for (x, line) in turned.chunks_exact(rows.to()).enumerate() {
            let slots = resized.iter_mut().skip(x * CHANNELS + channel);
            for (slot, level) in slots.step_by(columns.to() * CHANNELS).zip(line) {
                *slot = level.clamp(lowest, highest) as u8;
            }
        }
    }
    resized
}

/// How an axis is resized.
struct Axis {
    from: usize,
    /// The weights of the Gaussian, from its middle to one side; only its middle where nothing is blurred.
    blur: Vec<f64>,
    /// The samples that each new one is made of.
    taps: Vec<[(usize, f64); 4]>,
}

impl Axis {
    fn new(from: usize, to: usize) -> Self {
        let scale = from as f64 / to as f64;
        let tap = |index: usize| {
            let place = (index as f64 + 0.5) * scale - 0.5;
            let first = place.floor();
            let [before, after] = [place - first, 1.0 - (place - first)];
            let inner = |x: f64| (x * x * (x - 2.0) * 3.0 + 4.0) / 6.0;
            let [a, b, c] = [after * after * after / 6.0, inner(before), inner(after)];
            let weights = [a, b, c, 1.0 - a - b - c];
            let first = first as isize - 1;
            let mut place = first - 1;
            weights.map(|weight| {
                place += 1;
                (mirrored(place, from), weight)
            })
        };
        Self {
            from,
            blur: gaussian(((scale - 1.0) / 2.0).max(0.0)),
            taps: (0..to).map(tap).collect(),
        }
    }

    fn to(&self) -> usize {
        self.taps.len()
    }

    /// Resizes a line.
    #[allow(
        clippy::indexing_slicing,
        reason = "mirrored places lie on the line, which has `from` samples"
    )]
    fn resample(&self, levels: impl Iterator<Item = f64>, line: &mut [f64]) {
        let mut levels: Vec<f64> = levels.collect();
        if let [middle, sides @ ..] = &self.blur[..]
            && !sides.is_empty()
        {
            let blurred = (0..self.from as isize).map(|at| {
                let pairs = (1..).zip(sides);
                let pairs = pairs.map(|(away, weight)| {
                    let [left, right] = [at - away, at + away].map(|it| mirrored(it, self.from));
                    weight * (levels[left] + levels[right])
                });
                middle * levels[at as usize] + pairs.sum::<f64>()
            });
            levels = blurred.collect();
        }
        make_coefficients(&mut levels);
        for (slot, taps) in line.iter_mut().zip(&self.taps) {
            *slot = taps.iter().map(|(at, weight)| levels[*at] * weight).sum();
        }
    }
}

/// The sample of a line of `count` that a place shows in mirrors on its first and its last sample.
fn mirrored(place: isize, count: usize) -> usize {
    let last = count.saturating_sub(1);
    if last == 0 {
        return 0;
    }
    let place = place.rem_euclid(2 * last as isize) as usize;
    place.min(2 * last - place)
}

/// The weights of a Gaussian whose sum over both sides is 1, from its middle to one side.
fn gaussian(deviation: f64) -> Vec<f64> {
    if deviation <= 1e-15 {
        return vec![1.0];
    }
    let radius = (CUT * deviation + 0.5) as usize;
    let weight = |at: usize| (-0.5 * (at as f64 / deviation).powi(2)).exp();
    let weights: Vec<f64> = (0..=radius).map(weight).collect();
    let total = 2.0 * weights.iter().sum::<f64>() - 1.0;
    weights.into_iter().map(|weight| weight / total).collect()
}

/// Turns samples into the coefficients of the B-spline of third degree that goes through them.
fn make_coefficients(line: &mut [f64]) {
    let pole = 3f64.sqrt() - 2.0;
    let last = line.len().saturating_sub(1);
    if last == 0 {
        return;
    }
    line.iter_mut().for_each(|level| *level *= 6.0);
    // The recursion as if it had come from far left, over mirrored samples.
    let far = pole.powi(last as i32);
    let inner = line.iter().zip(line.iter().rev()).skip(1).take(last - 1);
    let mut power = pole;
    let mut sum = line.first().unwrap_or(&0.0) + far * line.last().unwrap_or(&0.0);
    for (level, opposite) in inner {
        sum += power * (level + far * opposite);
        power *= pole;
    }
    let mut before = sum / (1.0 - far * far);
    if let Some(first) = line.first_mut() {
        *first = before;
    }
    for level in line.iter_mut().skip(1) {
        *level += pole * before;
        before = *level;
    }
    let beside_last = line.iter().rev().nth(1).copied().unwrap_or_default();
    let mut after = None;
    for level in line.iter_mut().rev() {
        *level = match after {
            None => (pole * beside_last + *level) * pole / (pole * pole - 1.0),
            Some(after) => pole * (after - *level),
        };
        after = Some(*level);
    }
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::*;

    #[test]
    fn levels_are_scikit_images() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/sam/");
        let bytes = std::fs::read(format!("{folder}medsam_reference.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let mut compared = 0;
        for photo in ["wide", "tall", "tiny"] {
            let image = image::open(format!("{folder}{photo}.png"))
                .unwrap()
                .to_rgb8();
            let from = Size {
                height: image.height(),
                width: image.width(),
            };
            for side in [128, 32] {
                let to = Size {
                    height: side,
                    width: side,
                };
                let expected = tensors.tensor(&format!("{photo}.pixels.{side}")).unwrap();
                let found = resize_by_splines(image.as_raw(), from, to);
                assert_eq!(found, expected.data(), "{photo} {side}");
                compared += found.len();
            }
        }
        assert_eq!(compared, 3 * 3 * (128 * 128 + 32 * 32));
    }

    #[test]
    fn lines_of_one_sample_and_of_one_level_stay() {
        for (height, width) in [(1, 1), (1, 7), (5, 1), (300, 2)] {
            let from = Size { height, width };
            let to = Size {
                height: 16,
                width: 16,
            };
            let rgb = vec![255; (height * width) as usize * CHANNELS];
            let found = resize_by_splines(&rgb, from, to);
            assert!(found.iter().all(|level| *level == 255), "{from}: {found:?}");
        }
    }
}
