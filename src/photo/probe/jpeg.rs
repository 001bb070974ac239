//! The header of a JPEG file (ITU-T T.81, annex B), and whether its image is complete.
//!
//! `zune-jpeg`, which later decodes the image, reads the header. It does not say whether the image is complete, that
//! is, whether an EOI marker follows its first scan. That is checked here, and so is the name of a coding that the
//! decoder rejects.

use image::metadata::Orientation;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::bytes::be_u16;
use super::{Header, corrupt, cut_header, exif, unsupported, without_pixels};
use crate::error::PhotoError;
use crate::photo::PhotoFormat::Jpeg;
use crate::photo::Result;

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
/// Frame header of JPEG-LS (ITU-T T.87).
const SOF55: u8 = 0xf7;
/// Temporary marker for arithmetic coding. Like RST, it has no length.
const TEM: u8 = 0x01;
/// Offset of the first marker after SOI.
const SEGMENTS_AT: usize = 2;

pub(super) fn header(bytes: &[u8]) -> Result<Header> {
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder
        .decode_headers()
        .map_err(|err| refusal(bytes, &err))?;
    let info = decoder
        .info()
        .ok_or_else(|| corrupt(Jpeg, "no frame header before the first scan"))?;
    let (color, undecodable) = match (info.components, decoder.input_colorspace()) {
        (1, _) => ("gray8", None),
        (4, Some(ColorSpace::CMYK | ColorSpace::YCCK)) => ("cmyk8", None),
        (3, _) => ("rgb8", None),
        (components, _) => ("", Some(format!("{components} colour components"))),
    };
    let missing = (!ends(bytes, SEGMENTS_AT))
        .then(|| format!("no end-of-image marker in its {} bytes", bytes.len()));
    Ok(Header {
        width: info.width.into(),
        height: info.height.into(),
        orientation: decoder
            .exif()
            .map_or(Orientation::NoTransforms, |block| exif::orientation(block)),
        color: (!color.is_empty()).then(|| color.to_owned()),
        undecodable,
        missing,
        raw: None,
        geo: None,
        pages: 1,
    })
}

/// The error for a header that the decoder rejects.
fn refusal(bytes: &[u8], err: &DecodeErrors) -> PhotoError {
    if matches!(err, DecodeErrors::IoErrors(_) | DecodeErrors::ExhaustedData) {
        return cut_header(Jpeg, bytes);
    }
    let frame = Frame::find(bytes);
    if let Some(coding) = frame.as_ref().and_then(Frame::coding) {
        let advice = "convert the file to a baseline jpeg of 8 bits";
        return unsupported(Jpeg, format!("{coding}; {advice}"));
    }
    match frame {
        Some(Frame { width, height, .. }) if width == 0 || height == 0 => {
            without_pixels(Jpeg, width.into(), height.into())
        }
        // Some of the decoder's messages are in quotes.
        _ => corrupt(Jpeg, err.to_string().trim_matches('"')),
    }
}

/// A frame header (SOF), used for error messages.
struct Frame {
    marker: u8,
    bits: u8,
    width: u16,
    height: u16,
}

impl Frame {
    /// The first frame header before any scan.
    fn find(bytes: &[u8]) -> Option<Self> {
        let mut at = SEGMENTS_AT;
        loop {
            let (marker, body_at) = next_marker(bytes, at)?;
            match marker {
                SOS | EOI => return None,
                // SOF0 to SOF15, except DHT (c4), JPG (c8) and DAC (cc), which share the range.
                0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf | SOF55 => {
                    return Some(Self {
                        marker,
                        bits: *bytes.get(body_at + 2)?,
                        height: be_u16(bytes, body_at + 3)?,
                        width: be_u16(bytes, body_at + 5)?,
                    });
                }
                TEM | 0xd0..=SOI => at = body_at,
                _ => at = body_at + usize::from(be_u16(bytes, body_at)?),
            }
        }
    }

    /// The name of its coding, if the decoder does not support it (T.81, table B.1).
    fn coding(&self) -> Option<String> {
        let words = match self.marker {
            SOF55 => "jpeg-ls coding",
            0xc3 => "lossless coding",
            0xcb => "lossless arithmetic coding",
            0xc5..=0xc7 => "hierarchical coding",
            0xcd..=0xcf => "hierarchical arithmetic coding",
            0xc9 | 0xca => "arithmetic coding",
            _ if self.bits != 8 => return Some(format!("{}-bit samples", self.bits)),
            _ => return None,
        };
        Some(words.to_owned())
    }
}

/// Finds the next marker at or after `at`. Returns its code and the offset of its body.
///
/// Bytes between segments are skipped, as in libjpeg. Any number of 0xff fill bytes may precede the code.
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

/// Whether an EOI marker follows the segments and scans that start at `at`.
///
/// Segments are skipped by their length, so the EOI of an embedded EXIF thumbnail is never mistaken for it.
fn ends(bytes: &[u8], mut at: usize) -> bool {
    // The usual case needs no further reading: inside a scan, 0xff is followed only by 0 or by RST.
    if bytes
        .get(at..)
        .is_some_and(|rest| rest.ends_with(&[0xff, EOI]))
    {
        return true;
    }
    while let Some((marker, body_at)) = next_marker(bytes, at) {
        match marker {
            EOI => return true,
            // Another image starts here, so this one was cut off before.
            SOI => return false,
            TEM | 0x02..=0xbf | 0xd0..=0xd7 => at = body_at,
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
