//! Checks what a server sent: whether it is a photo that can be decoded, and large enough to be of use.

use image::RgbImage;

use super::duplicates::{PhotoHash, photo_hash};
use crate::error::PhotoError;
use crate::ids::ImageId;
use crate::photo::{self, DecodeLimits, PhotoFormat};

/// A photo that passed.
#[derive(Debug, Clone)]
pub(super) struct CheckedPhoto {
    pub image_id: ImageId,
    pub hash: PhotoHash,
    pub extension: &'static str,
}

/// Why bytes did not pass.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Unfit {
    /// It is a photo, but not one that is wanted.
    Unwanted(String),
    /// It is broken.
    Broken(String),
}

/// What photos must be like.
#[derive(Debug, Clone, Copy)]
pub(super) struct PhotoLimits {
    /// Least length of the shorter side, in pixels.
    pub min_side: u32,
    /// Limit on the number of pixels.
    pub max_pixels: u64,
}

impl PhotoLimits {
    /// Decodes a photo and checks it.
    pub fn check(&self, bytes: &[u8]) -> Result<CheckedPhoto, Unfit> {
        let broken = |err: PhotoError| Unfit::Broken(err.to_string());
        let info = photo::probe(bytes).map_err(broken)?;
        let (width, height) = (info.width, info.height);
        if width.min(height) < self.min_side {
            return Err(Unfit::Unwanted(format!(
                "{width} x {height} pixels; its shorter side has fewer than {}",
                self.min_side
            )));
        }
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(Unfit::Unwanted(format!(
                "{width} x {height} are over {} pixels",
                self.max_pixels
            )));
        }
        let pixels: RgbImage = photo::decode(bytes, &DecodeLimits::default()).map_err(broken)?;
        Ok(CheckedPhoto {
            image_id: ImageId::of_bytes(bytes),
            hash: photo_hash(&pixels),
            extension: extension(info.format),
        })
    }
}

/// The usual ending of a format's files.
pub(super) fn extension(format: PhotoFormat) -> &'static str {
    match format {
        PhotoFormat::Jpeg => "jpg",
        PhotoFormat::Png => "png",
        PhotoFormat::WebP => "webp",
        PhotoFormat::Bmp => "bmp",
        PhotoFormat::Tiff => "tiff",
        PhotoFormat::Gif => "gif",
        PhotoFormat::Pnm => "pnm",
    }
}
