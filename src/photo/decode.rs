//! Decodes an image file to upright 8-bit RGB.
//!
//! In: the bytes of a file and limits. Out: the pixels that Pillow's `ImageOps.exif_transpose(image).convert("RGB")`
//! gives, with these choices:
//! - Alpha is dropped, not blended, as in `convert("RGB")`, so hidden colours show.
//! - 16-bit samples keep their high byte, as in OpenCV's `imread`. Pillow does the same for RGB, but clips 16-bit gray
//!   to 255, which turns photos white.
//! - CMYK and YCCK are converted as (255 - c) (255 - k) / 255. JPEG stores them inverted.
//! - No colour profile and no gamma is applied.
//! - Samples of other kinds, which Pillow does not read, become pixels as [`Rendering`] says.
//!
//! Pixels of lossy formats differ from Pillow's by a few levels, as between any two decoders.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Limits, RgbImage};

use super::samples::{Samples, TiffSamples};
use super::{PhotoFormat, PhotoInfo, Rendering, Result, probe};
use crate::error::PhotoError;

/// Limits on what decoding one image may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Maximum number of pixels. The default is 200 million, twice a 100-megapixel photo.
    pub max_pixels: u64,
    /// Maximum number of bytes of pixels held at once: the decoder's output plus the RGB made from it. The default is 2
    /// GiB; a 100-megapixel photo with 16-bit alpha takes 1.1 GB.
    pub max_bytes: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            max_pixels: 200_000_000,
            max_bytes: 2 << 30,
        }
    }
}

/// How photos are decoded: within which limits, and into which pixels.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Decoding {
    /// What decoding may take.
    pub limits: DecodeLimits,
    /// Which channels and values become which colours.
    pub rendering: Rendering,
}

impl Decoding {
    /// That of an extractor with a rendering, which cuts photos into tiles or not: with tiles, photos may have any size.
    pub fn of_extractor(rendering: Rendering, has_tiles: bool) -> Self {
        let limits = if has_tiles {
            DecodeLimits::ANY_SIZE
        } else {
            DecodeLimits::default()
        };
        Self { limits, rendering }
    }
}

impl DecodeLimits {
    /// Limits of work that does not need a photo at the size of a network: as many pixels as a mask can have.
    pub const ANY_SIZE: Self = Self {
        max_pixels: u32::MAX as u64,
        max_bytes: 32 << 30,
    };

    /// Checks a size in pixels.
    ///
    /// # Errors
    /// [`PhotoError::ImageTooLarge`] if it is over the limit.
    pub(super) fn check_pixels(&self, info: &PhotoInfo) -> Result<()> {
        let PhotoInfo { width, height, .. } = *info;
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(PhotoError::ImageTooLarge {
                width,
                height,
                limit: self.max_pixels,
            });
        }
        Ok(())
    }

    /// Checks the memory that a decoder is about to allocate.
    fn check_bytes(&self, info: &PhotoInfo, decoded: u64) -> Result<()> {
        let PhotoInfo { width, height, .. } = *info;
        let needed = decoded.saturating_add(u64::from(width) * u64::from(height) * 3);
        if needed > self.max_bytes {
            return Err(PhotoError::ImageTakesTooMuchMemory {
                width,
                height,
                needed,
                limit: self.max_bytes,
            });
        }
        Ok(())
    }
}

/// Decodes an image file to 8-bit RGB, upright.
///
/// The size is that of [`probe`], which runs first, so a truncated file is rejected rather than filled with gray.
/// Animations give their first frame, TIFF its first page.
///
/// # Shapes
/// bytes -> (height, width) pixels of RGB, row-major, each channel 0 to 255.
///
/// # Errors
/// Those of [`probe`], and:
/// - [`PhotoError::ImageTooLarge`], [`PhotoError::ImageTakesTooMuchMemory`]: the image is over `limits`; nothing was
///   allocated.
/// - [`PhotoError::UnsupportedImage`]: the samples are of an unsupported kind, such as 12-bit samples in TIFF.
/// - [`PhotoError::DecodeImage`]: the pixel data is damaged.
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<RgbImage> {
    let decoding = Decoding {
        limits: *limits,
        rendering: Rendering::default(),
    };
    render(bytes, &decoding)
}

/// Decodes an image file to 8-bit RGB, upright, of chosen channels and with a chosen range of values.
///
/// # Shapes
/// As of [`decode`].
///
/// # Errors
/// Those of [`decode`]; [`PhotoError::NoSuchChannel`] if the photo lacks a channel that is asked for.
pub fn render(bytes: &[u8], decoding: &Decoding) -> Result<RgbImage> {
    let Decoding { limits, rendering } = decoding;
    let info = probe(bytes)?;
    info.check_decodable()?;
    limits.check_pixels(&info)?;
    let is_tiff = info.format == PhotoFormat::Tiff;
    let is_chosen = *rendering != Rendering::default();
    // Bits and inks are no samples to choose from: the `image` crate makes gray and RGB of them first.
    let is_made = matches!(info.color.as_deref(), Some("gray1" | "cmyk8" | "cmyk16"));
    // A strip or tile at a time; the `image` crate would hold all 16 bits.
    let is_deep = is_tiff && matches!(info.color.as_deref(), Some("gray16" | "rgb16" | "rgba16"));
    let pixels = if info.is_raw || is_deep || is_chosen && is_tiff && !is_made {
        let file = TiffSamples::open(bytes, limits)?;
        limits.check_bytes(&info, file.bytes_of_a_chunk())?;
        rendering.render(&mut Samples::of_tiff(file))?
    } else {
        let image = decoded(bytes, &info, limits)?;
        if is_chosen {
            let samples = Samples::of_image(image);
            let mut samples = samples.ok_or_else(|| unsupported_samples(info.format))?;
            rendering.render(&mut samples)?
        } else {
            to_rgb(image, info.format)?
        }
    };
    let mut upright = DynamicImage::ImageRgb8(pixels);
    if let Some(orientation) = Orientation::from_exif(info.orientation) {
        upright.apply_orientation(orientation);
    }
    let upright = upright.into_rgb8();
    if upright.dimensions() != (info.width, info.height) {
        let (width, height) = upright.dimensions();
        let reason = format!(
            "the header says {} x {} pixels, the data holds {width} x {height}",
            info.width, info.height
        );
        return Err(PhotoError::CorruptImage {
            format: info.format.as_str(),
            reason,
        });
    }
    Ok(upright)
}

/// The pixels as the `image` crate reads them.
fn decoded(bytes: &[u8], info: &PhotoInfo, limits: &DecodeLimits) -> Result<DynamicImage> {
    let decoding = |source| decode_error(info.format, source);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), info.format.image_format());
    let mut inner_limits = Limits::no_limits();
    inner_limits.max_alloc = Some(limits.max_bytes);
    reader.limits(inner_limits);
    let decoder = reader.into_decoder().map_err(decoding)?;
    limits.check_bytes(info, decoder.total_bytes())?;
    DynamicImage::from_decoder(decoder).map_err(decoding)
}

fn unsupported_samples(format: PhotoFormat) -> PhotoError {
    unsupported(format, "sample type of the decoded pixels")
}

fn unsupported(format: PhotoFormat, reason: &str) -> PhotoError {
    PhotoError::UnsupportedImage {
        format: format.as_str(),
        reason: reason.to_owned(),
    }
}

fn decode_error(format: PhotoFormat, source: ImageError) -> PhotoError {
    match source {
        ImageError::Unsupported(error) => unsupported(format, &error.to_string()),
        source => PhotoError::DecodeImage {
            format: format.as_str(),
            source,
        },
    }
}

/// Converts the output of a decoder to RGB, with the choices listed in the module's documentation.
fn to_rgb(image: DynamicImage, format: PhotoFormat) -> Result<RgbImage> {
    let (width, height) = (image.width(), image.height());
    let low = |sample: u8| sample;
    let high = |sample: u16| sample.to_be_bytes()[0];
    let pixels = match image {
        DynamicImage::ImageRgb8(image) => return Ok(image),
        DynamicImage::ImageRgba8(image) => rgb_of_color::<4, _>(image.as_raw(), low),
        DynamicImage::ImageLuma8(image) => rgb_of_gray::<1, _>(image.as_raw(), low),
        DynamicImage::ImageLumaA8(image) => rgb_of_gray::<2, _>(image.as_raw(), low),
        DynamicImage::ImageRgb16(image) => rgb_of_color::<3, _>(image.as_raw(), high),
        DynamicImage::ImageRgba16(image) => rgb_of_color::<4, _>(image.as_raw(), high),
        DynamicImage::ImageLuma16(image) => rgb_of_gray::<1, _>(image.as_raw(), high),
        DynamicImage::ImageLumaA16(image) => rgb_of_gray::<2, _>(image.as_raw(), high),
        _ => return Err(unsupported_samples(format)),
    };
    RgbImage::from_raw(width, height, pixels)
        .ok_or_else(|| unsupported(format, "size of the decoded pixels"))
}

/// The first three of every `CHANNELS` samples, as bytes.
fn rgb_of_color<const CHANNELS: usize, Sample: Copy>(
    samples: &[Sample],
    byte: impl Fn(Sample) -> u8,
) -> Vec<u8> {
    let (pixels, _) = samples.as_chunks::<CHANNELS>();
    let mut rgb = Vec::with_capacity(pixels.len() * 3);
    for pixel in pixels {
        rgb.extend(pixel.iter().take(3).map(|sample| byte(*sample)));
    }
    rgb
}

/// The first of every `CHANNELS` samples, repeated three times as bytes.
fn rgb_of_gray<const CHANNELS: usize, Sample: Copy>(
    samples: &[Sample],
    byte: impl Fn(Sample) -> u8,
) -> Vec<u8> {
    let (pixels, _) = samples.as_chunks::<CHANNELS>();
    let mut rgb = Vec::with_capacity(pixels.len() * 3);
    for pixel in pixels {
        if let Some(sample) = pixel.first() {
            rgb.extend([byte(*sample); 3]);
        }
    }
    rgb
}
