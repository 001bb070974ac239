//! Photos as bytes: what is in them, and their pixels.
//!
//! In: the whole content of an image file. Out: its size and kind ([`probe`]), its pixels as
//! 8-bit RGB ([`decode`]), or the class indices of a label map ([`decode_indexed_png`]).
//! The format is told from the content, never from a file name.
//!
//! Every frame here is the upright photo: EXIF orientation is applied to sizes and to pixels
//! alike, so masks, boxes and exports need not know of it. Label maps are the one exception;
//! see [`decode_indexed_png`].
//!
//! Does no I/O, holds no state, applies no colour profile.

mod decode;
mod format;
mod indexed_png;
mod probe;
mod voc;

use crate::error::PhotoError;
pub use decode::{DecodeLimits, decode};
pub use format::PhotoFormat;
pub use indexed_png::{IndexedImage, decode_indexed_png};
pub use probe::probe;
pub use voc::voc_colormap;

/// What functions of this module return.
pub type Result<T, E = PhotoError> = std::result::Result<T, E>;

/// What the header of an image file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhotoInfo {
    /// Format of the file, told from its content.
    pub format: PhotoFormat,
    /// Width in pixels of the upright photo, after EXIF orientation.
    pub width: u32,
    /// Height in pixels of the upright photo, after EXIF orientation.
    pub height: u32,
    /// EXIF orientation, 1 to 8; 1 when the file has none or a bad one.
    pub orientation: u8,
    /// Stored samples, such as `rgb8`, `gray16`, `cmyk8` or `palette4` (bits per channel or
    /// per index); `None` where the header does not tell.
    pub color: Option<String>,
    /// Why [`decode`] refuses the pixels, such as `signed 16-bit samples`, where the header tells;
    /// `None` for photos that can be decoded.
    pub undecodable: Option<String>,
}

impl PhotoInfo {
    /// Checks that the pixels are of a kind that is decoded.
    ///
    /// # Errors
    /// [`PhotoError::UnsupportedImage`].
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
