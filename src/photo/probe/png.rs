//! The header of a PNG file (W3C PNG, section 5), and whether its chunks reach IEND.

use image::metadata::Orientation;

use super::bytes::{array, be_u32};
use super::{Header, corrupt, cut_header};
use crate::photo::PhotoFormat::Png;
use crate::photo::Result;

const SIGNATURE_LEN: usize = 8;

pub(super) fn header(bytes: &[u8]) -> Result<Header> {
    let cut = || cut_header(Png, bytes);
    let first: [u8; 4] = array(bytes, SIGNATURE_LEN + 4).ok_or_else(cut)?;
    if &first != b"IHDR" {
        return Err(corrupt(Png, "the first chunk is not IHDR"));
    }
    let body_at = SIGNATURE_LEN + 8;
    let width = be_u32(bytes, body_at).ok_or_else(cut)?;
    let height = be_u32(bytes, body_at + 4).ok_or_else(cut)?;
    let [bits, color_type] = array(bytes, body_at + 8).ok_or_else(cut)?;
    let name = match color_type {
        0 => "gray",
        2 => "rgb",
        3 => "palette",
        4 => "graya",
        6 => "rgba",
        _ => {
            return Err(corrupt(
                Png,
                format!("colour type {color_type} does not exist"),
            ));
        }
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
        width,
        height,
        orientation: chunks.orientation.unwrap_or(Orientation::NoTransforms),
        color: Some(format!("{name}{bits}")),
        missing,
    })
}

/// What the chunks of a file say.
#[derive(Default)]
struct Chunks {
    orientation: Option<Orientation>,
    has_pixels: bool,
    /// IEND was reached, and every chunk before it lies within the file.
    ended: bool,
}

fn walk(bytes: &[u8]) -> Chunks {
    let mut found = Chunks::default();
    let mut at = SIGNATURE_LEN;
    while let Some((kind, body)) = chunk(bytes, at) {
        match &kind {
            b"IDAT" => found.has_pixels = true,
            b"eXIf" => found.orientation = Orientation::from_exif_chunk(body),
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

/// Kind and body of the chunk at `at`; `None` when it does not lie within the file.
fn chunk(bytes: &[u8], at: usize) -> Option<([u8; 4], &[u8])> {
    let length = usize::try_from(be_u32(bytes, at)?).ok()?;
    let kind = array(bytes, at + 4)?;
    let body = bytes.get(at + 8..)?.get(..length)?;
    let _checksum: [u8; 4] = array(bytes, at + 8 + length)?;
    Some((kind, body))
}
