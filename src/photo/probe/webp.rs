//! The header of a WebP file (RFC 9649), and whether its RIFF container lies within the file.
//!
//! The decoder reads the header; the size in the container is compared with the file's size here.

use std::io::Cursor;

use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder};

use super::bytes::le_u32;
use super::{Header, cut_header, exif, refusal, truncated};
use crate::photo::PhotoFormat::WebP;
use crate::photo::Result;

pub(super) fn header(bytes: &[u8]) -> Result<Header> {
    let size = le_u32(bytes, 4).ok_or_else(|| cut_header(WebP, bytes))?;
    let (expected, found) = (u64::from(size) + 8, bytes.len() as u64);
    if found < expected {
        let reason = format!("expected {expected} bytes, found {found}");
        return Err(truncated(WebP, reason));
    }
    let refused = |err| refusal(WebP, bytes, err);
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(refused)?;
    let (width, height) = decoder.dimensions();
    let color = match decoder.color_type() {
        ColorType::Rgba8 => "rgba8",
        _ => "rgb8",
    };
    // An EXIF block outside the file is ignored.
    let exif = decoder.exif_metadata().ok().flatten();
    Ok(Header {
        width,
        height,
        orientation: exif.map_or(Orientation::NoTransforms, |block| exif::orientation(&block)),
        color: Some(color.to_owned()),
        undecodable: None,
        missing: None,
        raw: None,
        geo: None,
        pages: 1,
    })
}
