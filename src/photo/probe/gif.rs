//! The header of a GIF file (GIF89a), and whether its blocks reach the trailer.
//!
//! The decoder reads the header. It fails at stray bytes between blocks, which some writers leave and other decoders
//! skip, so the walk to the trailer is done here.

use std::io::Cursor;

use image::ImageDecoder;
use image::codecs::gif::GifDecoder;
use image::metadata::Orientation;

use super::bytes::array;
use super::{Header, cut_header, refusal, truncated};
use crate::photo::PhotoFormat::Gif;
use crate::photo::Result;

const EXTENSION: u8 = 0x21;
const IMAGE: u8 = 0x2c;
const TRAILER: u8 = 0x3b;
/// Size of the signature and the logical screen descriptor.
const SCREEN_LEN: usize = 13;

pub(super) fn header(bytes: &[u8]) -> Result<Header> {
    let [flags, _background, _aspect] = array(bytes, 10).ok_or_else(|| cut_header(Gif, bytes))?;
    if reach_trailer(bytes, SCREEN_LEN + color_table_len(flags)).is_none() {
        let reason = format!("no trailer in its {} bytes", bytes.len());
        return Err(truncated(Gif, reason));
    }
    let refused = |err| refusal(Gif, bytes, err);
    let decoder = GifDecoder::new(Cursor::new(bytes)).map_err(refused)?;
    let (width, height) = decoder.dimensions();
    Ok(Header {
        width,
        height,
        orientation: Orientation::NoTransforms,
        color: Some("palette8".to_owned()),
        undecodable: None,
        missing: None,
        raw: None,
        geo: None,
        pages: 1,
    })
}

/// Size in bytes of the colour table that a flags byte announces.
fn color_table_len(flags: u8) -> usize {
    if flags & 0x80 == 0 {
        0
    } else {
        3 << ((flags & 7) + 1)
    }
}

/// Walks the blocks from `at`. Returns `Some` if the trailer lies within the file.
fn reach_trailer(bytes: &[u8], mut at: usize) -> Option<()> {
    loop {
        match *bytes.get(at)? {
            TRAILER => return Some(()),
            EXTENSION => at = skip_sub_blocks(bytes, at + 2)?,
            IMAGE => {
                let table = color_table_len(*bytes.get(at + 9)?);
                let code_size_at = at + 10 + table;
                at = skip_sub_blocks(bytes, code_size_at + 1)?;
            }
            _ => at += 1,
        }
    }
}

/// Skips length-prefixed blocks, including the empty one that ends them.
fn skip_sub_blocks(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1 + length;
        if length == 0 {
            return Some(at);
        }
    }
}
