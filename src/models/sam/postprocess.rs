//! Converts the decoder's small masks to masks of the original image (upstream: `Sam.postprocess_masks`,
//! `calculate_stability_score`).
//!
//! Works on one mask at a time in reused buffers, so that no caller has to hold all masks of an image at full size.

use super::config::SamConfig;
use super::preprocess::ImageFrame;
use crate::models::error::{ModelError, Result};
use crate::models::layers::{Tap, linear_taps};

/// Logits above this are foreground.
pub const MASK_THRESHOLD: f32 = 0.0;

/// Scales masks of one image to its original size.
///
/// The steps are upstream's: bilinear to the model input, crop to the image's part of it, bilinear to the original
/// size. Both are linear and treat rows and columns alike, so they are one step here: each pixel is a weighted sum of few
/// rows and columns of the small mask. SAM 2 goes from the small mask to the original size at once.
#[derive(Clone, Debug)]
pub struct MaskUpscaler {
    low_res_size: usize,
    rows: Vec<Window>,
    columns: Vec<Window>,
    /// The small mask, its rows at their full width.
    widened: Vec<f32>,
    original: Vec<f32>,
}

impl MaskUpscaler {
    /// Creates an upscaler from masks of `low_res_size` pixels per side to the image of `frame`.
    pub fn new(frame: &ImageFrame, low_res_size: usize) -> Self {
        let side = frame.image_size as usize;
        let axis = |resized: u32, original: u32| {
            let (resized, original) = (resized as usize, original as usize);
            if frame.is_stretched {
                let taps = linear_taps(low_res_size, original, original);
                let windows = taps.iter().map(|tap| Window::at_once(tap, low_res_size));
                return windows.collect();
            }
            let to_input = linear_taps(low_res_size, side, resized);
            let to_original = linear_taps(resized, original, original);
            to_original
                .iter()
                .map(|tap| Window::of(tap, &to_input, low_res_size))
                .collect()
        };
        Self {
            low_res_size,
            rows: axis(frame.resized.height, frame.original.height),
            columns: axis(frame.resized.width, frame.original.width),
            widened: Vec::new(),
            original: Vec::new(),
        }
    }

    /// Logits of one mask at the original size, row-major. The slice is overwritten by the next call.
    ///
    /// # Shapes
    /// - low_res: `[low_res_size, low_res_size]`, row-major
    /// - output: `[height, width]` of the original image
    ///
    /// # Errors
    /// [`ModelError::MaskLength`] for a mask of another size.
    pub fn logits(&mut self, low_res: &[f32]) -> Result<&[f32]> {
        let expected = self.low_res_size * self.low_res_size;
        if low_res.len() != expected {
            return Err(ModelError::MaskLength {
                expected,
                found: low_res.len(),
            });
        }
        let width = self.columns.len();
        self.widened.clear();
        for row in low_res.chunks_exact(self.low_res_size.max(1)) {
            let sums = self.columns.iter().map(|window| window.sum(row));
            self.widened.extend(sums);
        }
        self.original.clear();
        for window in &self.rows {
            let row = |at: usize| {
                let row = self.widened.get((window.first + at) * width..);
                row.and_then(|rest| rest.get(..width)).unwrap_or_default()
            };
            let [first, second, third, fourth] = window.weights;
            let pairs = row(0).iter().zip(row(1)).zip(row(2).iter().zip(row(3)));
            let sums =
                pairs.map(|((a, b), (c, d))| first * a + second * b + (third * c + fourth * d));
            self.original.extend(sums);
        }
        Ok(&self.original)
    }
}

/// Neighbouring samples of the small mask's axis, and their weights in one sample of the original's.
#[derive(Clone, Copy, Debug)]
struct Window {
    first: usize,
    weights: [f32; 4],
}

impl Window {
    /// Joins a tap on samples of the model input with their own taps on the `count` samples of the small mask. Two
    /// neighbours of the input come from at most three neighbours of the mask, which is smaller.
    fn of(tap: &Tap, to_input: &[Tap], count: usize) -> Self {
        let mut parts = Vec::with_capacity(4);
        for (sample, weight) in [(tap.low, 1.0 - tap.fraction), (tap.high, tap.fraction)] {
            if let Some(inner) = to_input.get(sample) {
                parts.push((inner.low, weight * (1.0 - inner.fraction)));
                parts.push((inner.high, weight * inner.fraction));
            }
        }
        Self::from_parts(parts, count)
    }

    /// A tap on the `count` samples of the small mask.
    fn at_once(tap: &Tap, count: usize) -> Self {
        let parts = [(tap.low, 1.0 - tap.fraction), (tap.high, tap.fraction)];
        Self::from_parts(parts.to_vec(), count)
    }

    fn from_parts(parts: Vec<(usize, f32)>, count: usize) -> Self {
        let first = parts.iter().map(|(sample, _)| *sample).min();
        // Windows at the end begin earlier, so that all four samples exist.
        let first = first.unwrap_or_default().min(count.saturating_sub(4));
        let mut weights = [0.0; 4];
        for (sample, weight) in parts {
            if let Some(sum) = weights.get_mut(sample - first) {
                *sum += weight;
            }
        }
        Self { first, weights }
    }

    /// The weighted sum of a row's samples.
    fn sum(&self, row: &[f32]) -> f32 {
        match row.get(self.first..self.first + 4) {
            Some([a, b, c, d]) => {
                let [first, second, third, fourth] = self.weights;
                first * a + second * b + (third * c + fourth * d)
            }
            _ => 0.0,
        }
    }
}

/// Shift of the threshold, in logits, by which SAM 2 finds a single mask unstable, and the minimum score of a stable one
/// (upstream: `dynamic_multimask_stability_delta` and `_thresh` of `build_sam.py`).
const SINGLE_OFFSET: f32 = 0.05;
const SINGLE_STABILITY: f32 = 0.98;

impl SamConfig {
    /// Whether the model replaces a single mask, given its logits at the decoder's size, by the one of the three others with
    /// the highest predicted IoU: SAM 2 does if the mask is unstable.
    pub fn replaces_single_mask(&self, low_res: &[f32]) -> bool {
        if !self.is_sam2_or_3() {
            return false;
        }
        let is_empty = !low_res.iter().any(|logit| *logit > -SINGLE_OFFSET);
        !is_empty && stability_score(low_res, MASK_THRESHOLD, SINGLE_OFFSET) < SINGLE_STABILITY
    }
}

/// Marks the foreground of a mask: 1 where the logit is above `threshold`, 0 elsewhere.
pub fn threshold_into(logits: &[f32], threshold: f32, bitmap: &mut Vec<u8>) {
    bitmap.clear();
    bitmap.extend(logits.iter().map(|logit| u8::from(*logit > threshold)));
}

/// How little a mask changes with its threshold: the IoU between the masks at
/// `threshold + offset` and `threshold - offset`, in [0, 1]; 0 if both are empty.
pub fn stability_score(logits: &[f32], threshold: f32, offset: f32) -> f32 {
    let (strict, loose) = (threshold + offset, threshold - offset);
    let (mut inside, mut around) = (0u32, 0u32);
    for logit in logits {
        inside += u32::from(*logit > strict);
        around += u32::from(*logit > loose);
    }
    if around == 0 {
        return 0.0;
    }
    (f64::from(inside) / f64::from(around)) as f32
}
