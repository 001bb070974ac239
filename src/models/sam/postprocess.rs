//! Converts the decoder's small masks to masks of the original image (upstream: `Sam.postprocess_masks`,
//! `calculate_stability_score`).
//!
//! Works on one mask at a time in reused buffers, so that no caller has to hold all masks of an image at full size.

use super::preprocess::ImageFrame;
use crate::models::error::{ModelError, Result};
use crate::models::layers::{Tap, linear_taps};

/// Logits above this are foreground.
pub const MASK_THRESHOLD: f32 = 0.0;

/// Scales masks of one image to its original size.
///
/// The steps are upstream's: bilinear to the model input, crop to the image's part of it, bilinear to the original
/// size.
#[derive(Clone, Debug)]
pub struct MaskUpscaler {
    low_res_size: usize,
    to_input: Resize,
    to_original: Resize,
    input: Vec<f32>,
    original: Vec<f32>,
}

impl MaskUpscaler {
    /// Creates an upscaler from masks of `low_res_size` pixels per side to the image of `frame`.
    pub fn new(frame: &ImageFrame, low_res_size: usize) -> Self {
        let side = frame.image_size as usize;
        let (height, width) = (frame.resized.height as usize, frame.resized.width as usize);
        let rows = linear_taps(low_res_size, side, height);
        let columns = linear_taps(low_res_size, side, width);
        let to_input = Resize::new(rows, columns, low_res_size);
        let (to_height, to_width) = (
            frame.original.height as usize,
            frame.original.width as usize,
        );
        let rows = linear_taps(height, to_height, to_height);
        let columns = linear_taps(width, to_width, to_width);
        Self {
            low_res_size,
            to_input,
            to_original: Resize::new(rows, columns, width),
            input: Vec::new(),
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
        self.to_input.run(low_res, &mut self.input);
        self.to_original.run(&self.input, &mut self.original);
        Ok(&self.original)
    }
}

/// Bilinear resizing of one plane.
#[derive(Clone, Debug)]
struct Resize {
    rows: Vec<Tap>,
    columns: Vec<Tap>,
    width: usize,
    blended: Vec<f32>,
}

impl Resize {
    fn new(rows: Vec<Tap>, columns: Vec<Tap>, width: usize) -> Self {
        Self {
            rows,
            columns,
            width,
            blended: Vec::new(),
        }
    }

    /// Resizes `source`, rows of `width` values, into `target`.
    fn run(&mut self, source: &[f32], target: &mut Vec<f32>) {
        target.clear();
        for row in &self.rows {
            let line = |index: usize| source.get(index * self.width..).unwrap_or_default();
            let pairs = line(row.low).iter().zip(line(row.high)).take(self.width);
            self.blended.clear();
            self.blended
                .extend(pairs.map(|(low, high)| low + (high - low) * row.fraction));
            let blended = self.blended.as_slice();
            target.extend(self.columns.iter().map(|column| {
                match (blended.get(column.low), blended.get(column.high)) {
                    (Some(low), Some(high)) => low + (high - low) * column.fraction,
                    _ => 0.0,
                }
            }));
        }
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
