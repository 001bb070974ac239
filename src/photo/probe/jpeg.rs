//! The header of a JPEG file (ITU-T T.81, annex B), and whether its image ends.
//!
//! A whole image ends with an EOI marker after its first scan. Segments before that scan are
//! skipped by their length, so the EOI of an embedded EXIF thumbnail is never taken for it.

use image::metadata::Orientation;

use super::bytes::be_u16;
use super::{Header, corrupt, cut_header};
use crate::photo::PhotoFormat::Jpeg;
use crate::photo::Result;

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const APP1: u8 = 0xe1;
/// Temporary marker for arithmetic coding: like RST, it has no length.
const TEM: u8 = 0x01;
const EXIF: &[u8] = b"Exif\0\0";

/// Frame header (SOF): the size and kind of the image.
struct Frame {
    width: u16,
    height: u16,
    color: Option<String>,
}

pub(super) fn header(bytes: &[u8]) -> Result<Header> {
    let mut frame = None;
    let mut orientation = None;
    let mut at = 2; // past SOI, which the format's signature has checked
    let scan_at = loop {
        let (marker, body_at) = next_marker(bytes, at).ok_or_else(|| cut_header(Jpeg, bytes))?;
        if marker == EOI {
            return Err(corrupt(Jpeg, "the image ends before its first scan"));
        }
        if !has_length(marker) {
            at = body_at;
            continue;
        }
        let length = be_u16(bytes, body_at).ok_or_else(|| cut_header(Jpeg, bytes))?;
        if length < 2 {
            return Err(corrupt(
                Jpeg,
                format!("segment 0x{marker:02x} has length {length}"),
            ));
        }
        at = body_at + usize::from(length);
        let body = bytes
            .get(body_at + 2..at)
            .ok_or_else(|| cut_header(Jpeg, bytes))?;
        match marker {
            SOS => break at,
            APP1 if orientation.is_none() => {
                orientation = body
                    .strip_prefix(EXIF)
                    .and_then(Orientation::from_exif_chunk);
            }
            // SOF0 to SOF15, less DHT (c4), JPG (c8) and DAC (cc), which share the range.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) && frame.is_none() => {
                frame = parse_frame(body);
            }
            _ => {}
        }
    };
    let frame = frame.ok_or_else(|| corrupt(Jpeg, "no frame header before the first scan"))?;
    let missing = (!ends(bytes, scan_at))
        .then(|| format!("no end-of-image marker in its {} bytes", bytes.len()));
    Ok(Header {
        width: frame.width.into(),
        height: frame.height.into(),
        orientation: orientation.unwrap_or(Orientation::NoTransforms),
        color: frame.color,
        missing,
    })
}

fn parse_frame(body: &[u8]) -> Option<Frame> {
    let bits = *body.first()?;
    let color = match *body.get(5)? {
        1 => Some(format!("gray{bits}")),
        3 => Some(format!("rgb{bits}")),
        4 => Some(format!("cmyk{bits}")),
        _ => None,
    };
    Some(Frame {
        height: be_u16(body, 1)?,
        width: be_u16(body, 3)?,
        color,
    })
}

/// Finds the next marker at or after `at`: its code, and where its body starts.
///
/// Bytes between segments are skipped as libjpeg does; any number of 0xff may fill up before
/// the code.
fn next_marker(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let mut at = at + bytes.get(at..)?.iter().position(|&byte| byte == 0xff)?;
    loop {
        at += 1;
        match *bytes.get(at)? {
            0xff => {}
            0 => at += 1 + bytes.get(at + 1..)?.iter().position(|&byte| byte == 0xff)?,
            code => return Some((code, at + 1)),
        }
    }
}

fn has_length(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xcf | 0xda..=0xfe)
}

/// Whether an EOI marker follows the scan data that starts at `scan_at`.
fn ends(bytes: &[u8], scan_at: usize) -> bool {
    // The usual case, without reading the scan: inside it 0xff is followed by 0 or by RST only.
    if bytes
        .get(scan_at..)
        .is_some_and(|scan| scan.ends_with(&[0xff, EOI]))
    {
        return true;
    }
    let mut at = scan_at;
    while let Some((marker, body_at)) = next_marker(bytes, at) {
        match marker {
            EOI => return true,
            // Another image starts here, so this one was cut before.
            SOI => return false,
            TEM | 0x02..=0xbf | 0xd0..=0xd7 => at = body_at,
            // Tables and headers between the scans of a progressive image.
            _ => match be_u16(bytes, body_at) {
                Some(length) => at = body_at + usize::from(length),
                None => return false,
            },
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuffed_bytes_restarts_and_fill_bytes_do_not_end_a_scan() {
        assert!(!ends(&[1, 0xff, 0, 0xd9, 0xff, 0xd0, 7], 0));
        assert!(ends(
            &[1, 0xff, 0, 0xd9, 0xff, 0xd0, 0xff, 0xff, 0xff, EOI, 7],
            0
        ));
    }

    #[test]
    fn an_end_marker_inside_a_table_between_scans_does_not_count() {
        assert!(!ends(&[1, 0xff, 0xc4, 0, 4, 0xff, EOI, 2, 3], 0));
        assert!(ends(&[1, 0xff, 0xc4, 0, 4, 0xff, EOI, 2, 0xff, EOI, 3], 0));
    }

    #[test]
    fn another_image_after_a_cut_one_does_not_end_it() {
        assert!(!ends(&[1, 2, 0xff, SOI, 0xff, EOI, 9], 0));
    }
}
