//! Reads photos from bytes.
//!
//! In: the complete content of an image file. Out: its size and format ([`probe`]), its pixels as 8-bit RGB
//! ([`decode`], with the channels and the range of values of a [`Rendering`] by [`render`]), or the class indices of a
//! label map ([`decode_indexed_png`]). The format is recognised by the content, never by a file name.
//!
//! All sizes and pixels are those of the upright photo: EXIF orientation is applied to both, so masks, boxes and
//! exports can ignore it. Label maps are the only exception; see [`decode_indexed_png`].
//!
//! This module does no I/O, holds no state and applies no colour profile.

mod decode;
mod format;
mod geo;
mod indexed_png;
pub(crate) mod label_values;
mod probe;
mod rendering;
mod samples;
mod voc;

use crate::error::PhotoError;
pub use decode::{DecodeLimits, Decoding, decode, render};
pub use format::PhotoFormat;
pub use geo::GeoReference;
pub use indexed_png::{IndexedImage, decode_indexed_png};
pub use probe::probe;
pub use rendering::{Channels, Percentiles, Rendering};
pub use voc::voc_colormap;

/// Result type of this module.
pub type Result<T, E = PhotoError> = std::result::Result<T, E>;

/// The contents of an image file's header.
#[derive(Debug, Clone, PartialEq)]
pub struct PhotoInfo {
    /// Format of the file, recognised by its content.
    pub format: PhotoFormat,
    /// Width in pixels of the upright photo, after EXIF orientation.
    pub width: u32,
    /// Height in pixels of the upright photo, after EXIF orientation.
    pub height: u32,
    /// EXIF orientation, 1 to 8; 1 if the file has none or an invalid one.
    pub orientation: u8,
    /// Stored samples, such as `rgb8`, `gray16`, `cmyk8` or `palette4` (bits per channel or per index); `None` if the
    /// header does not say.
    pub color: Option<String>,
    /// Why [`decode`] rejects the pixels, such as `12-bit samples`, if the header shows it; `None` for photos
    /// that can be decoded.
    pub undecodable: Option<String>,
    /// What of the samples is not used unless asked for, such as `of each 16-bit sample the high 8 bits are used`; `None`
    /// if all of them are.
    pub unused: Option<String>,
    /// Where on Earth the photo is, if it is a GeoTIFF.
    pub geo: Option<GeoReference>,
    /// Whether decoding makes pixels of samples of other kinds than gray, RGB and CMYK of 8 and 16 bits.
    is_raw: bool,
}

impl PhotoInfo {
    /// Checks that the samples are of a supported kind.
    ///
    /// # Errors
    /// [`PhotoError::UnsupportedImage`] if they are not.
    pub fn check_decodable(&self) -> Result<()> {
        match &self.undecodable {
            None => Ok(()),
            Some(reason) => Err(PhotoError::UnsupportedImage {
                format: self.format.as_str(),
                reason: reason.clone(),
            }),
        }
    }
}
