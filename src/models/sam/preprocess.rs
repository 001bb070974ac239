//! Converts a photo to the model's input (upstream: `ResizeLongestSide`, `Sam.preprocess`).
//!
//! In: RGB bytes of any size. Out: pixels whose longest side is scaled to the model's with Pillow's antialiased
//! bilinear filter, normalised, and padded with zeros at the right and bottom; for SAM 2, pixels that fill the whole input
//! (upstream: `SAM2Transforms`), and so for MedSAM. Files are not decoded here.

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::geometry::Size;
use crate::models::error::{ModelError, Result};
use crate::models::pixels::{Filter, resize, resize_by_splines, resize_planes};
use crate::options::one_of;

/// Mean of R, G and B over upstream's training images, in [0, 255].
pub(super) const PIXEL_MEAN: [f32; 3] = [123.675, 116.28, 103.53];
/// Standard deviation of R, G and B, in the same units.
pub(super) const PIXEL_STD: [f32; 3] = [58.395, 57.12, 57.375];

/// How photos become the input of a model with the architecture of the first Segment Anything. Its weights do not say which of these
/// they were trained with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PixelTransform {
    /// As Segment Anything does it: the aspect is kept, and levels are normalised by the mean and the standard deviation of its
    /// training images.
    #[default]
    Sam,
    /// As MedSAM does it (upstream: `MedSAM_Inference.py`): resized by cubic splines to fill the whole input, whatever the aspect,
    /// and levels scaled from the lowest to the highest of the photo to [0, 1].
    MedSam,
}

impl std::str::FromStr for PixelTransform {
    type Err = crate::Error;

    fn from_str(text: &str) -> crate::Result<Self> {
        let words = [("sam", Self::Sam), ("medsam", Self::MedSam)];
        one_of("kind of pixels", text, &words)
    }
}

/// The placement of an image in the model's square input: its own size and the size it is resized to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ImageFrame {
    /// Size of the original image.
    pub original: Size,
    /// Size in the model input. The rest, at the right and bottom, is padding.
    pub resized: Size,
    /// Side of the model input in pixels.
    pub image_size: u32,
    /// Whether the image fills the whole input, whatever its aspect, as in SAM 2 and MedSAM.
    pub is_stretched: bool,
}

impl ImageFrame {
    /// The frame of an image of size `original`.
    ///
    /// # Errors
    /// [`ModelError::EmptyImage`] for an image without pixels.
    pub fn new(original: Size, image_size: usize) -> Result<Self> {
        let Size { height, width } = original;
        if height == 0 || width == 0 {
            return Err(ModelError::EmptyImage { size: original });
        }
        let scale = image_size as f64 / f64::from(height.max(width));
        // Upstream rounds the short side of a very thin image to 0 and then fails; here it keeps one pixel.
        let scaled = |side: u32| ((f64::from(side) * scale + 0.5) as u32).max(1);
        Ok(Self {
            original,
            resized: Size {
                height: scaled(height),
                width: scaled(width),
            },
            image_size: image_size as u32,
            is_stretched: false,
        })
    }

    /// The frame of an image of size `original` that fills the whole input.
    ///
    /// # Errors
    /// [`ModelError::EmptyImage`] for an image without pixels.
    pub fn stretched(original: Size, image_size: usize) -> Result<Self> {
        let image_size = image_size as u32;
        Ok(Self {
            resized: Size {
                height: image_size,
                width: image_size,
            },
            is_stretched: true,
            ..Self::new(original, image_size as usize)?
        })
    }

    /// Converts a point (x, y) of the original image to pixels of the model input.
    pub fn model_from_image(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [
            x * (f64::from(self.resized.width) / f64::from(self.original.width)),
            y * (f64::from(self.resized.height) / f64::from(self.original.height)),
        ]
    }
}

/// An image ready for the encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct PreparedImage {
    /// The placement of the image in the input.
    pub frame: ImageFrame,
    pixels: Vec<f32>,
}

impl PreparedImage {
    /// Resizes, normalises and pads an image of row-major RGB bytes.
    ///
    /// # Errors
    /// [`ModelError::EmptyImage`]; [`ModelError::PixelCount`] unless there are three bytes per pixel.
    pub fn new(rgb: &[u8], size: Size, image_size: usize) -> Result<Self> {
        let frame = ImageFrame::new(size, image_size)?;
        check_length(rgb, size)?;
        let resized = resize(rgb, frame.original, frame.resized, Filter::Bilinear);
        Ok(Self {
            frame,
            pixels: normalise(&resized, &frame),
        })
    }

    /// Resizes an image of row-major RGB bytes to the whole input without rounding to bytes, and normalises it with the mean
    /// and standard deviation of each channel, of 255 levels.
    ///
    /// # Errors
    /// [`ModelError::EmptyImage`]; [`ModelError::PixelCount`] unless there are three bytes per pixel.
    pub(super) fn stretched(
        rgb: &[u8],
        size: Size,
        image_size: usize,
        (mean, std): ([f32; 3], [f32; 3]),
    ) -> Result<Self> {
        let frame = ImageFrame::stretched(size, image_size)?;
        check_length(rgb, size)?;
        let mut pixels = resize_planes(rgb, frame.original, frame.resized, Filter::Bilinear);
        let planes = pixels.chunks_exact_mut(image_size * image_size);
        for (plane, (mean, std)) in planes.zip(mean.into_iter().zip(std)) {
            for level in plane {
                *level = (*level - mean) / std;
            }
        }
        Ok(Self { frame, pixels })
    }

    /// Resizes an image of row-major RGB bytes to the whole input, and scales its levels to [0, 1], as
    /// [`PixelTransform::MedSam`] says.
    ///
    /// # Errors
    /// [`ModelError::EmptyImage`]; [`ModelError::PixelCount`] unless there are three bytes per pixel.
    pub(super) fn of_medsam(rgb: &[u8], size: Size, image_size: usize) -> Result<Self> {
        let frame = ImageFrame::stretched(size, image_size)?;
        check_length(rgb, size)?;
        let levels = resize_by_splines(rgb, frame.original, frame.resized);
        let lowest = levels.iter().copied().min().unwrap_or(0);
        let highest = levels.iter().copied().max().unwrap_or(0);
        let range = f64::from(highest - lowest).max(1e-8);
        let scaled = |level: &u8| (f64::from(level - lowest) / range) as f32;
        let planes = (0..3).flat_map(|channel| levels.iter().skip(channel).step_by(3).map(scaled));
        Ok(Self {
            frame,
            pixels: planes.collect(),
        })
    }

    /// Normalised values, channel by channel, row-major.
    ///
    /// # Shapes
    /// - output: `[3, image_size, image_size]`, flattened
    pub fn pixels(&self) -> &[f32] {
        &self.pixels
    }

    /// The encoder's input for one image.
    ///
    /// # Shapes
    /// - output: `[1, 3, image_size, image_size]`
    pub fn into_tensor(self, device: &Device) -> Tensor<4> {
        let side = self.frame.image_size as usize;
        Tensor::from_data(TensorData::new(self.pixels, [1, 3, side, side]), device)
    }
}

/// # Errors
/// [`ModelError::PixelCount`] unless there are three bytes per pixel.
fn check_length(rgb: &[u8], size: Size) -> Result<()> {
    let expected = size.height as usize * size.width as usize * 3;
    if rgb.len() == expected {
        return Ok(());
    }
    Err(ModelError::PixelCount {
        size,
        expected,
        found: rgb.len(),
    })
}

#[allow(
    clippy::indexing_slicing,
    reason = "a table of 256 has an entry for every byte"
)]
fn normalise(rgb: &[u8], frame: &ImageFrame) -> Vec<f32> {
    let side = frame.image_size as usize;
    let width = frame.resized.width as usize;
    let mut pixels = vec![0f32; 3 * side * side];
    let planes = pixels.chunks_exact_mut(side * side);
    for ((channel, plane), (mean, std)) in planes.enumerate().zip(PIXEL_MEAN.iter().zip(PIXEL_STD))
    {
        let table: [f32; 256] = std::array::from_fn(|level| (level as f32 - mean) / std);
        for (line, row) in plane
            .chunks_exact_mut(side)
            .zip(rgb.chunks_exact(3 * width))
        {
            let levels = row.iter().skip(channel).step_by(3);
            for (pixel, level) in line.iter_mut().zip(levels) {
                *pixel = table[usize::from(*level)];
            }
        }
    }
    pixels
}
