//! The header of a WebP file (RFC 9649), and whether its RIFF container lies within the file.

use image::metadata::Orientation;

use super::bytes::{array, le_u16, le_u32};
use super::{Header, corrupt, cut_header};
use crate::photo::PhotoFormat::WebP;
use crate::photo::Result;

/// RIFF tag, size and `WEBP` tag.
const CONTAINER_LEN: usize = 12;
const ALPHA_FLAG: u8 = 0x10;

pub(super) fn header(bytes: &[u8]) -> Result<Header> {
    let cut = || cut_header(WebP, bytes);
    let kind: [u8; 4] = array(bytes, CONTAINER_LEN).ok_or_else(cut)?;
    let body = bytes.get(CONTAINER_LEN + 8..).ok_or_else(cut)?;
    let (width, height, has_alpha) = match &kind {
        b"VP8 " => lossy(body).ok_or_else(cut)?,
        b"VP8L" => lossless(body).ok_or_else(cut)?,
        b"VP8X" => extended(body).ok_or_else(cut)?,
        _ => {
            let kind = kind.escape_ascii();
            return Err(corrupt(
                WebP,
                format!("the first chunk is '{kind}', not VP8, VP8L or VP8X"),
            ));
        }
    };
    Ok(Header {
        width,
        height,
        orientation: orientation(bytes).unwrap_or(Orientation::NoTransforms),
        color: Some(if has_alpha { "rgba8" } else { "rgb8" }.to_owned()),
        missing: missing(bytes),
    })
}

/// Width, height and alpha of a `VP8 ` key frame (RFC 6386, section 9.1).
fn lossy(body: &[u8]) -> Option<(u32, u32, bool)> {
    // Three bytes of frame tag, three of start code; the upper two bits of a size are its scale.
    let width = le_u16(body, 6)? & 0x3fff;
    let height = le_u16(body, 8)? & 0x3fff;
    Some((width.into(), height.into(), false))
}

/// Width, height and alpha of a `VP8L` stream: 14, 14 and 1 bits after the signature byte.
fn lossless(body: &[u8]) -> Option<(u32, u32, bool)> {
    let bits = le_u32(body, 1)?;
    Some((
        (bits & 0x3fff) + 1,
        (bits >> 14 & 0x3fff) + 1,
        bits >> 28 & 1 == 1,
    ))
}

/// Width, height and alpha of a `VP8X` chunk: flags, then two 24-bit sizes less one.
fn extended(body: &[u8]) -> Option<(u32, u32, bool)> {
    let flags = *body.first()?;
    let [w0, w1, w2, h0, h1, h2] = array(body, 4)?;
    let width = u32::from_le_bytes([w0, w1, w2, 0]) + 1;
    let height = u32::from_le_bytes([h0, h1, h2, 0]) + 1;
    Some((width, height, flags & ALPHA_FLAG != 0))
}

/// Compares the container's own size with the file's.
fn missing(bytes: &[u8]) -> Option<String> {
    let size = u64::from(le_u32(bytes, 4)?) + 8;
    let len = bytes.len() as u64;
    (len < size).then(|| format!("expected {size} bytes, found {len}"))
}

/// Orientation in the EXIF chunk, if there is one.
fn orientation(bytes: &[u8]) -> Option<Orientation> {
    let mut at = CONTAINER_LEN;
    loop {
        let kind: [u8; 4] = array(bytes, at)?;
        let length = usize::try_from(le_u32(bytes, at + 4)?).ok()?;
        if &kind == b"EXIF" {
            let body = bytes.get(at + 8..)?.get(..length)?;
            // Some writers keep the prefix that EXIF has in JPEG.
            let body = body.strip_prefix(b"Exif\0\0").unwrap_or(body);
            return Orientation::from_exif_chunk(body);
        }
        at = at
            .checked_add(8)?
            .checked_add(length)?
            .checked_add(length % 2)?;
    }
}
