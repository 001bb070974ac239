//! The header of a Windows bitmap, and whether its pixel array lies within the file.
//!
//! The file's own size field is not trusted: many writers leave it 0.

use image::metadata::Orientation;

use super::bytes::{le_i32, le_u16, le_u32};
use super::{Header, cut_header};
use crate::photo::PhotoFormat::Bmp;
use crate::photo::Result;

/// Header of OS/2 1.x, with 16-bit sizes.
const CORE_HEADER_LEN: u32 = 12;
/// Compression numbers whose rows are stored plain: BI_RGB, BI_BITFIELDS, BI_ALPHABITFIELDS.
const PLAIN: [u32; 3] = [0, 3, 6];

pub(super) fn header(bytes: &[u8]) -> Result<Header> {
    parse(bytes).ok_or_else(|| cut_header(Bmp, bytes))
}

fn parse(bytes: &[u8]) -> Option<Header> {
    let pixels_at = le_u32(bytes, 10)?;
    let (width, height, bits, compression, coded_len);
    if le_u32(bytes, 14)? == CORE_HEADER_LEN {
        (width, height) = (u32::from(le_u16(bytes, 18)?), u32::from(le_u16(bytes, 20)?));
        (bits, compression, coded_len) = (le_u16(bytes, 24)?, 0, 0);
    } else {
        width = u32::try_from(le_i32(bytes, 18)?).unwrap_or(0);
        height = le_i32(bytes, 22)?.unsigned_abs(); // negative: rows run from the top
        (bits, compression, coded_len) =
            (le_u16(bytes, 28)?, le_u32(bytes, 30)?, le_u32(bytes, 34)?);
    }
    let color = match bits {
        1 | 4 | 8 => Some(format!("palette{bits}")),
        16 => Some("rgb5".to_owned()),
        24 => Some("rgb8".to_owned()),
        32 => Some(if compression == 0 { "rgb8" } else { "rgba8" }.to_owned()),
        _ => None,
    };
    let pixels_len = if PLAIN.contains(&compression) {
        plain_len(width, height, bits)
    } else {
        Some(u64::from(coded_len))
    };
    let end = pixels_len
        .and_then(|len| len.checked_add(pixels_at.into()))
        .unwrap_or(u64::MAX);
    let len = bytes.len() as u64;
    Some(Header {
        width,
        height,
        orientation: Orientation::NoTransforms,
        color,
        missing: (len < end).then(|| format!("expected {end} bytes, found {len}")),
    })
}

/// Bytes of the pixel array; every row, the last one too, is padded to 4 bytes.
fn plain_len(width: u32, height: u32, bits: u16) -> Option<u64> {
    let row = (u64::from(width) * u64::from(bits))
        .div_ceil(8)
        .next_multiple_of(4);
    row.checked_mul(height.into())
}
