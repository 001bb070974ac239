//! Recognises the format of an image file.
//!
//! In: the start of a file. Out: a [`PhotoFormat`], or an error that names what the file looks like. Only signatures
//! are checked; `probe` checks the rest.

use std::fmt;

use image::ImageFormat;

use super::Result;
use crate::error::PhotoError;

/// An image file format that can be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PhotoFormat {
    /// JPEG, baseline or progressive, including MPO (the first picture is used).
    Jpeg,
    /// PNG, including animations (the default image is used).
    Png,
    /// WebP, lossy or lossless, including animations (the first frame is used).
    WebP,
    /// Windows bitmap.
    Bmp,
    /// TIFF or BigTIFF (the first page is used).
    Tiff,
    /// GIF (the first frame is used).
    Gif,
    /// Netpbm: PBM, PGM, PPM or PAM.
    Pnm,
}

impl PhotoFormat {
    /// Lower-case name: `jpeg`, `png`, `webp`, `bmp`, `tiff`, `gif` or `pnm`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Bmp => "bmp",
            Self::Tiff => "tiff",
            Self::Gif => "gif",
            Self::Pnm => "pnm",
        }
    }

    /// The corresponding format of the `image` crate.
    pub(super) fn image_format(self) -> ImageFormat {
        match self {
            Self::Jpeg => ImageFormat::Jpeg,
            Self::Png => ImageFormat::Png,
            Self::WebP => ImageFormat::WebP,
            Self::Bmp => ImageFormat::Bmp,
            Self::Tiff => ImageFormat::Tiff,
            Self::Gif => ImageFormat::Gif,
            Self::Pnm => ImageFormat::Pnm,
        }
    }

    /// Recognises the format of a file by its first bytes.
    ///
    /// # Errors
    /// [`PhotoError::EmptyFile`]; [`PhotoError::UnsupportedFormat`] for formats that are recognised but never decoded;
    /// [`PhotoError::NotAnImage`] for anything else.
    pub(crate) fn guess(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Err(PhotoError::EmptyFile);
        }
        let format = match bytes {
            [0xff, 0xd8, 0xff, ..] => Self::Jpeg,
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Self::Png,
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => Self::WebP,
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Self::Tiff,
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Self::Gif,
            [b'P', b'1'..=b'7', white, ..] if white.is_ascii_whitespace() => Self::Pnm,
            // "BM" could also begin a text; the reserved words that follow it are always 0.
            [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => Self::Bmp,
            _ => return Err(not_a_photo(bytes)),
        };
        Ok(format)
    }
}

impl fmt::Display for PhotoFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The error for a file that has none of the formats above.
fn not_a_photo(bytes: &[u8]) -> PhotoError {
    let name = match bytes {
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => match brand {
            [b'a', b'v', b'i', b'f' | b's', ..] => Some("avif"),
            [b'h', b'e', ..] | [b'm', b'i', b'f', b'1', ..] => Some("heic"),
            _ => Some("video"),
        },
        [0xff, 0x0a, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => Some("jpeg xl"),
        [0, 0, 0, 12, b'j', b'P', b' ', b' ', ..] | [0xff, 0x4f, 0xff, 0x51, ..] => {
            Some("jpeg 2000")
        }
        [b'8', b'B', b'P', b'S', ..] => Some("photoshop"),
        [b'%', b'P', b'D', b'F', ..] => Some("pdf"),
        [b'v', b'/', b'1', 1, ..] => Some("openexr"),
        [0, 0, 1, 0, ..] => Some("ico"),
        _ => None,
    };
    match name {
        Some(name) => PhotoError::UnsupportedFormat { name },
        None => PhotoError::NotAnImage {
            start: bytes
                .iter()
                .take(16)
                .copied()
                .flat_map(std::ascii::escape_default)
                .map(char::from)
                .collect(),
        },
    }
}
