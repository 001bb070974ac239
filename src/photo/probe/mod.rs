//! Reads an image file's header and checks that the file is complete.
//!
//! In: the bytes of a file. Out: a [`PhotoInfo`]. No pixel is decoded, and no allocation depends on the size that a
//! header claims.
//!
//! Headers are read by the libraries that later decode the pixels, so a header that they reject is rejected here. EXIF
//! is read by `kamadak-exif`. This module itself checks what no library reports before decoding: whether the file is
//! complete. A file is called truncated only if its own structure says so: a missing end marker, or a chunk or strip
//! past the end. Of a TIFF, only the first page must be complete. Damage inside the pixel data is left for `decode` to
//! find.

mod bmp;
mod bytes;
mod exif;
mod gif;
mod jpeg;
mod png;
mod pnm;
mod tiff;
mod webp;

use std::error::Error as _;
use std::io::ErrorKind;

use image::ImageError;
use image::metadata::Orientation;

use super::{GeoReference, PhotoFormat, PhotoInfo};
use crate::error::PhotoError;
use crate::photo::Result;

/// Maximum number of pixels: mask run lengths (COCO RLE) are counted in `u32`.
const MAX_PIXELS: u64 = u32::MAX as u64;

/// The contents of a header before any check.
struct Header {
    /// Width in pixels as stored.
    width: u32,
    /// Height in pixels as stored.
    height: u32,
    orientation: Orientation,
    color: Option<String>,
    /// Why the pixels cannot be decoded, if so.
    undecodable: Option<String>,
    /// What is missing at the end of the file, if anything.
    missing: Option<String>,
    /// As in [`PhotoInfo`].
    raw: Option<RawSamples>,
    /// As in [`PhotoInfo`].
    geo: Option<GeoReference>,
    /// Pages of a TIFF; 1 for other formats.
    pages: u32,
}

/// Samples that are neither gray nor RGB nor CMYK of 8 or 16 bits.
struct RawSamples {
    /// What of them is not used unless asked for.
    unused: Option<String>,
}

/// Reads format, upright size, orientation and colour, and checks that the file is complete.
///
/// `bytes` must be the complete file; its pixels are not decoded. Orientation comes from EXIF (JPEG, PNG, WebP) or from
/// the TIFF tag; XMP is not read.
///
/// # Examples
/// ```
/// use grainstore::photo::{PhotoFormat, probe};
///
/// let mut png = std::io::Cursor::new(Vec::new());
/// image::RgbImage::new(4, 3).write_to(&mut png, image::ImageFormat::Png)?;
/// let info = probe(png.get_ref())?;
/// assert_eq!(info.format, PhotoFormat::Png);
/// assert_eq!((info.width, info.height, info.orientation), (4, 3, 1));
/// assert_eq!(info.color.as_deref(), Some("rgb8"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// - [`PhotoError::EmptyFile`], [`PhotoError::NotAnImage`], [`PhotoError::UnsupportedFormat`]: there is no supported
///   image.
/// - [`PhotoError::ImageWithoutPixels`]: width or height is zero.
/// - [`PhotoError::ImageTooLarge`]: it has more than `u32::MAX` pixels, which mask RLE cannot count.
/// - [`PhotoError::TruncatedImage`]: the file is cut off.
/// - [`PhotoError::CorruptImage`], [`PhotoError::UnsupportedImage`]: the header is invalid, or of a variant that cannot
///   be read.
pub fn probe(bytes: &[u8]) -> Result<PhotoInfo> {
    let format = PhotoFormat::guess(bytes)?;
    let header = match format {
        PhotoFormat::Jpeg => jpeg::header(bytes),
        PhotoFormat::Png => png::header(bytes),
        PhotoFormat::WebP => webp::header(bytes),
        PhotoFormat::Bmp => bmp::header(bytes),
        PhotoFormat::Tiff => tiff::header(bytes),
        PhotoFormat::Gif => gif::header(bytes),
        PhotoFormat::Pnm => pnm::header(bytes),
    }?;
    let Header { width, height, .. } = header;
    if width == 0 || height == 0 {
        return Err(without_pixels(format, width, height));
    }
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(PhotoError::ImageTooLarge {
            width,
            height,
            limit: MAX_PIXELS,
        });
    }
    if let Some(reason) = header.missing {
        return Err(truncated(format, reason));
    }
    let (width, height) = match header.orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => (height, width),
        Orientation::NoTransforms
        | Orientation::Rotate180
        | Orientation::FlipHorizontal
        | Orientation::FlipVertical => (width, height),
    };
    let has_16_bits = header.color.as_deref().is_some_and(|it| it.ends_with("16"));
    let is_raw = header.raw.is_some();
    let unused = match (header.raw, &header.color) {
        (Some(raw), _) => raw.unused,
        (None, Some(color)) if has_16_bits => Some(high_bits(color)),
        _ => None,
    };
    let pages = (header.pages > 1).then(|| format!("of {} pages the first is used", header.pages));
    let unused = match (unused, pages) {
        (Some(unused), Some(pages)) => Some(format!("{unused}; {pages}")),
        (unused, pages) => unused.or(pages),
    };
    Ok(PhotoInfo {
        format,
        width,
        height,
        orientation: header.orientation.to_exif(),
        color: header.color,
        undecodable: header.undecodable,
        unused,
        geo: header.geo,
        is_raw,
    })
}

/// What is not used of samples of 16 bits that have a range of their own.
fn high_bits(color: &str) -> String {
    format!(
        "{color}: of each 16-bit sample the high 8 bits are used; if that makes it too dark, extract with \
         --percentiles 2,98"
    )
}

/// The error for a header that a decoder of the `image` crate rejects.
fn refusal(format: PhotoFormat, bytes: &[u8], err: ImageError) -> PhotoError {
    match err {
        ImageError::IoError(err) if err.kind() == ErrorKind::UnexpectedEof => {
            cut_header(format, bytes)
        }
        ImageError::Unsupported(err) => unsupported(format, err.to_string()),
        // The text of the error itself repeats the format's name.
        err => match err.source() {
            Some(source) => corrupt(format, source.to_string()),
            None => corrupt(format, err.to_string()),
        },
    }
}

/// The header gives no width or no height.
fn without_pixels(format: PhotoFormat, width: u32, height: u32) -> PhotoError {
    PhotoError::ImageWithoutPixels {
        format: format.as_str(),
        width,
        height,
    }
}

/// The file ends before its image does.
fn truncated(format: PhotoFormat, reason: String) -> PhotoError {
    PhotoError::TruncatedImage {
        format: format.as_str(),
        reason,
    }
}

/// The file ends inside its header.
fn cut_header(format: PhotoFormat, bytes: &[u8]) -> PhotoError {
    let reason = format!(
        "the file ends inside the header, after {} bytes",
        bytes.len()
    );
    truncated(format, reason)
}

/// The header is wrong.
fn corrupt(format: PhotoFormat, reason: impl Into<String>) -> PhotoError {
    PhotoError::CorruptImage {
        format: format.as_str(),
        reason: reason.into(),
    }
}

/// The header is of a kind that no decoder here supports.
fn unsupported(format: PhotoFormat, reason: impl Into<String>) -> PhotoError {
    PhotoError::UnsupportedImage {
        format: format.as_str(),
        reason: reason.into(),
    }
}
