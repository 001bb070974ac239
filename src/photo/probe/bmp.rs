//! The header of a Windows bitmap, and whether its pixel array lies within the file.
//!
//! The decoder reads the header. The end of the pixel array is computed here, because no library gives it and the
//! file's own size field is unreliable: many writers leave it 0.

use std::io::Cursor;

use image::ImageDecoder;
use image::codecs::bmp::BmpDecoder;
use image::metadata::Orientation;

use super::bytes::{le_u16, le_u32};
use super::{Header, cut_header, refusal};
use crate::photo::PhotoFormat::Bmp;
use crate::photo::Result;

/// Size of the OS/2 1.x header, which has 16-bit sizes.
const CORE_HEADER_LEN: u32 = 12;
/// Compression methods that store rows uncompressed: BI_RGB and BI_BITFIELDS.
const PLAIN: [u32; 2] = [0, 3];

pub(super) fn header(bytes: &[u8]) -> Result<Header> {
    let refused = |err| refusal(Bmp, bytes, err);
    let decoder = BmpDecoder::new(Cursor::new(bytes)).map_err(refused)?;
    let (width, height) = decoder.dimensions();
    let array = Array::read(bytes).ok_or_else(|| cut_header(Bmp, bytes))?;
    let color = match array.bits {
        bits @ (1 | 2 | 4 | 8) => Some(format!("palette{bits}")),
        16 => Some("rgb5".to_owned()),
        24 => Some("rgb8".to_owned()),
        32 if array.compression == 0 => Some("rgb8".to_owned()),
        32 => Some("rgba8".to_owned()),
        _ => None,
    };
    let end = array.end(width, height).unwrap_or(u64::MAX);
    let len = bytes.len() as u64;
    Ok(Header {
        width,
        height,
        orientation: Orientation::NoTransforms,
        color,
        undecodable: None,
        missing: (len < end).then(|| format!("expected {end} bytes, found {len}")),
        raw: None,
        geo: None,
        pages: 1,
    })
}

/// The position and encoding of the pixels.
struct Array {
    at: u32,
    bits: u16,
    compression: u32,
    /// Size of the compressed pixels in bytes.
    coded_len: u32,
}

impl Array {
    fn read(bytes: &[u8]) -> Option<Self> {
        let at = le_u32(bytes, 10)?;
        if le_u32(bytes, 14)? == CORE_HEADER_LEN {
            return Some(Self {
                at,
                bits: le_u16(bytes, 24)?,
                compression: 0,
                coded_len: 0,
            });
        }
        Some(Self {
            at,
            bits: le_u16(bytes, 28)?,
            compression: le_u32(bytes, 30)?,
            coded_len: le_u32(bytes, 34)?,
        })
    }

    /// Offset of the end of the pixels. Every row, including the last, is padded to 4 bytes.
    fn end(&self, width: u32, height: u32) -> Option<u64> {
        let len = if PLAIN.contains(&self.compression) {
            let row = (u64::from(width) * u64::from(self.bits))
                .div_ceil(8)
                .next_multiple_of(4);
            row.checked_mul(height.into())?
        } else {
            self.coded_len.into()
        };
        len.checked_add(self.at.into())
    }
}
