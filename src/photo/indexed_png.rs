//! Reads class indices from a PNG label map.
//!
//! In: the bytes of a PNG. Out: one index per pixel. Three kinds are supported: palette indices (PASCAL VOC's
//! `SegmentationClass`), plain gray levels (ADE20K, Cityscapes), and RGB in PASCAL VOC's colours. The meaning of an
//! index is up to the caller.

use std::io::Cursor;

use png::{BitDepth, ColorType, Transformations};

use super::voc::voc_index;
use super::{DecodeLimits, PhotoFormat, Result, probe};
use crate::error::PhotoError;

/// One class index per pixel, as stored in a PNG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedImage {
    /// Width in pixels as stored.
    pub width: u32,
    /// Height in pixels as stored.
    pub height: u32,
    /// (height, width) indices, row-major.
    pub indices: Vec<u8>,
    /// Colours of the indices in the file's palette, as RGB; `None` for gray and RGB files. An index may be past its
    /// end.
    pub palette: Option<Vec<[u8; 3]>>,
    /// Whether the indices are gray levels, rather than those of a palette or of PASCAL VOC's colours.
    pub is_gray: bool,
}

/// Decodes a PNG label map to the indices that it stores.
///
/// Palette files (1, 2, 4 or 8 bits) give their raw indices. Gray files (1 to 8 bits) give their raw levels, which are
/// not scaled to 255. RGB files give the index of each colour in [`voc_colormap`](super::voc_colormap). Alpha of
/// palette entries (tRNS) is ignored. EXIF orientation is not applied, because a label map is drawn on the upright
/// photo. The pixel limit is that of [`DecodeLimits::default`].
///
/// # Shapes
/// bytes -> `indices` of (height, width), row-major.
///
/// # Errors
/// Those of [`probe`], and:
/// - [`PhotoError::NotALabelMap`]: the file is not a PNG, or a PNG with alpha or 16 bits.
/// - [`PhotoError::NotAVocColor`]: an RGB pixel is not in PASCAL VOC's colour map.
/// - [`PhotoError::ImageTooLarge`]: the image is over the pixel limit.
/// - [`PhotoError::DecodeLabelMap`]: the pixel data is damaged.
pub fn decode_indexed_png(bytes: &[u8]) -> Result<IndexedImage> {
    let info = probe(bytes)?;
    let not_a_label_map = || {
        let color = info.color.as_deref().unwrap_or("unknown colour");
        PhotoError::NotALabelMap {
            found: format!("{} of {color}", info.format),
        }
    };
    if info.format != PhotoFormat::Png {
        return Err(not_a_label_map());
    }
    DecodeLimits::default().check_pixels(&info)?;

    let failed = |source| PhotoError::DecodeLabelMap { source };
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(failed)?;
    let (color_type, depth) = reader.output_color_type();
    let is_label_map = match color_type {
        ColorType::Indexed | ColorType::Grayscale => depth != BitDepth::Sixteen,
        ColorType::Rgb => depth == BitDepth::Eight,
        ColorType::GrayscaleAlpha | ColorType::Rgba => false,
    };
    let size = reader
        .output_buffer_size()
        .filter(|_| is_label_map)
        .ok_or_else(not_a_label_map)?;
    let mut samples = vec![0; size];
    let frame = reader.next_frame(&mut samples).map_err(failed)?;
    samples.truncate(frame.buffer_size());

    let indices = match color_type {
        ColorType::Rgb => indices_of_colors(&samples, frame.width)?,
        _ => unpack(&samples, depth, &frame),
    };
    let palette = match (color_type, &reader.info().palette) {
        (ColorType::Indexed, Some(palette)) => Some(palette.as_chunks::<3>().0.to_vec()),
        _ => None,
    };
    Ok(IndexedImage {
        width: frame.width,
        height: frame.height,
        indices,
        palette,
        is_gray: color_type == ColorType::Grayscale,
    })
}

/// Expands samples of 1, 2, 4 or 8 bits to one byte each. Every row starts on a whole byte.
fn unpack(samples: &[u8], depth: BitDepth, frame: &png::OutputInfo) -> Vec<u8> {
    let bits = depth as u8;
    if bits >= 8 {
        return samples.to_vec();
    }
    let width = frame.width as usize;
    let mask = (1 << bits) - 1;
    let mut indices = Vec::with_capacity(width * frame.height as usize);
    for row in samples.chunks_exact(frame.line_size) {
        let shifts = (0..8).step_by(bits.into()).map(|used| 8 - bits - used);
        let unpacked = row
            .iter()
            .flat_map(|byte| shifts.clone().map(move |shift| byte >> shift & mask));
        indices.extend(unpacked.take(width));
    }
    indices
}

fn indices_of_colors(samples: &[u8], width: u32) -> Result<Vec<u8>> {
    let (colors, _) = samples.as_chunks::<3>();
    let mut indices = Vec::with_capacity(colors.len());
    for (pixel, &color) in (0_u32..).zip(colors) {
        let not_a_voc_color = || PhotoError::NotAVocColor {
            x: pixel % width,
            y: pixel / width,
            color,
        };
        indices.push(voc_index(color).ok_or_else(not_a_voc_color)?);
    }
    Ok(indices)
}
