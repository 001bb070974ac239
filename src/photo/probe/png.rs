//! The header of a PNG file (W3C PNG, section 5), and whether its chunks reach IEND.
//!
//! The `png` crate reads IHDR. It does not report a missing end before all pixels are decoded, and it does not find
//! EXIF after them, so the chunks are walked here.

use std::io::{Cursor, ErrorKind};

use image::metadata::Orientation;
use png::{BitDepth, ColorType, Decoder, DecodingError};

use super::bytes::{array, be_u32};
use super::{Header, corrupt, cut_header, exif, without_pixels};
use crate::error::PhotoError;
use crate::photo::PhotoFormat::Png;
use crate::photo::Result;

const SIGNATURE_LEN: usize = 8;

pub(super) fn header(bytes: &[u8]) -> Result<Header> {
    let mut decoder = Decoder::new(Cursor::new(bytes));
    let info = decoder
        .read_header_info()
        .map_err(|err| refusal(bytes, err))?;
    let name = match info.color_type {
        ColorType::Grayscale => "gray",
        ColorType::Rgb => "rgb",
        ColorType::Indexed => "palette",
        ColorType::GrayscaleAlpha => "graya",
        ColorType::Rgba => "rgba",
    };
    let bits = match info.bit_depth {
        BitDepth::One => 1,
        BitDepth::Two => 2,
        BitDepth::Four => 4,
        BitDepth::Eight => 8,
        BitDepth::Sixteen => 16,
    };
    let chunks = walk(bytes);
    let missing = if !chunks.ended {
        Some(format!("no IEND chunk in its {} bytes", bytes.len()))
    } else if !chunks.has_pixels {
        Some("no IDAT chunk".to_owned())
    } else {
        None
    };
    Ok(Header {
        width: info.width,
        height: info.height,
        orientation: chunks.orientation.unwrap_or(Orientation::NoTransforms),
        color: Some(format!("{name}{bits}")),
        undecodable: None,
        raw: None,
        geo: None,
        pages: 1,
        missing,
    })
}

/// The error for a header that the decoder rejects.
fn refusal(bytes: &[u8], err: DecodingError) -> PhotoError {
    let body_at = SIGNATURE_LEN + 8;
    let size = be_u32(bytes, body_at).zip(be_u32(bytes, body_at + 4));
    match (err, size) {
        (DecodingError::IoError(err), _) if err.kind() == ErrorKind::UnexpectedEof => {
            cut_header(Png, bytes)
        }
        (_, Some((width, height))) if width == 0 || height == 0 => {
            without_pixels(Png, width, height)
        }
        (err, _) => corrupt(Png, err.to_string()),
    }
}

/// Findings of the walk over a file's chunks.
#[derive(Default)]
struct Chunks {
    orientation: Option<Orientation>,
    has_pixels: bool,
    /// Whether IEND was reached, with every chunk before it within the file.
    ended: bool,
}

fn walk(bytes: &[u8]) -> Chunks {
    let mut found = Chunks::default();
    let mut at = SIGNATURE_LEN;
    while let Some((kind, body)) = chunk(bytes, at) {
        match &kind {
            b"IDAT" => found.has_pixels = true,
            b"eXIf" => found.orientation = Some(exif::orientation(body)),
            b"IEND" => {
                found.ended = true;
                break;
            }
            _ => {}
        }
        at += 12 + body.len();
    }
    found
}

/// Kind and body of the chunk at `at`; `None` if it does not lie within the file.
fn chunk(bytes: &[u8], at: usize) -> Option<([u8; 4], &[u8])> {
    let length = usize::try_from(be_u32(bytes, at)?).ok()?;
    let kind = array(bytes, at + 4)?;
    let body = bytes.get(at + 8..)?.get(..length)?;
    let _checksum: [u8; 4] = array(bytes, at + 8 + length)?;
    Some((kind, body))
}
