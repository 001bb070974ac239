//! The first page of a TIFF or BigTIFF file (TIFF 6.0), and whether its strips or tiles lie
//! within the file.
//!
//! The `tiff` crate, which later decodes the page, reads the directory. This module checks that the strips lie within
//! the file and that the samples are of a supported kind: 8 or 16 bits, unsigned, of gray, RGB or CMYK, or gray of 1
//! bit.

use std::io::{Cursor, ErrorKind};

use image::ImageError;
use image::codecs::tiff::TiffDecoder;
use image::metadata::Orientation;
use tiff::decoder::Decoder;
use tiff::tags::{CompressionMethod, SampleFormat, Tag};
use tiff::{TiffError, TiffFormatError, TiffResult};

use super::{Header, corrupt, cut_header, unsupported, without_pixels};
use crate::error::PhotoError;
use crate::photo::PhotoFormat::Tiff;
use crate::photo::Result;

type File<'a> = Decoder<Cursor<&'a [u8]>>;

/// Advice for samples that are not supported.
const ADVICE: &str = "convert the file to 8-bit gray or rgb";

pub(super) fn header(bytes: &[u8]) -> Result<Header> {
    let refused = |err| refusal(bytes, err);
    let mut file = Decoder::new(Cursor::new(bytes)).map_err(refused)?;
    let (width, height) = file.dimensions().map_err(refused)?;
    let number = |file: &mut File, tag| file.find_tag_unsigned::<u32>(tag).map_err(refused);
    if number(&mut file, Tag::NewSubfileType)?.is_some_and(|kind| kind & 1 == 1) {
        return Err(unsupported(
            Tiff,
            "its first page is a preview, as in camera raw files",
        ));
    }
    let orientation = number(&mut file, Tag::Orientation)?
        .and_then(|value| Orientation::from_exif(u8::try_from(value).ok()?));
    let samples = Samples::read(&mut file).map_err(refused)?;
    let undecodable = samples
        .undecodable()
        .or_else(|| unknown_to_decoder(bytes))
        .map(|reason| format!("{reason}; {ADVICE}"));
    Ok(Header {
        width,
        height,
        orientation: orientation.unwrap_or(Orientation::NoTransforms),
        color: samples.name().map(|name| format!("{name}{}", samples.bits)),
        undecodable,
        missing: missing(&mut file, bytes).map_err(refused)?,
    })
}

/// The error for a directory that the decoder rejects.
fn refusal(bytes: &[u8], err: TiffError) -> PhotoError {
    match err {
        TiffError::IoError(err) if err.kind() == ErrorKind::UnexpectedEof => {
            cut_header(Tiff, bytes)
        }
        TiffError::FormatError(TiffFormatError::InvalidDimensions(width, height)) => {
            without_pixels(Tiff, width, height)
        }
        TiffError::UnsupportedError(err) => unsupported(Tiff, err.to_string()),
        err => corrupt(Tiff, err.to_string()),
    }
}

/// How a page stores its pixels.
struct Samples {
    /// Photometric interpretation.
    photometric: Option<u16>,
    /// Samples per pixel.
    count: u16,
    /// Bits of the first sample.
    bits: u16,
    format: SampleFormat,
    compression: CompressionMethod,
}

impl Samples {
    fn read(file: &mut File) -> TiffResult<Self> {
        let mut first = |tag| {
            let values = file.find_tag_unsigned_vec::<u16>(tag)?;
            Ok::<_, TiffError>(values.and_then(|values| values.first().copied()))
        };
        Ok(Self {
            photometric: first(Tag::PhotometricInterpretation)?,
            count: first(Tag::SamplesPerPixel)?.unwrap_or(1),
            bits: first(Tag::BitsPerSample)?.unwrap_or(1),
            format: first(Tag::SampleFormat)?
                .map_or(SampleFormat::Uint, SampleFormat::from_u16_exhaustive),
            compression: first(Tag::Compression)?.map_or(
                CompressionMethod::None,
                CompressionMethod::from_u16_exhaustive,
            ),
        })
    }

    /// Name of the kind of samples.
    fn name(&self) -> Option<&'static str> {
        let name = match (self.photometric?, self.count) {
            (0 | 1, 1) => "gray",
            (0 | 1, 2) => "graya",
            (2, 3) => "rgb",
            (2, 4) => "rgba",
            (3, 1) => "palette",
            (5, 4) => "cmyk",
            (6, 3) => "ycbcr",
            _ => return None,
        };
        Some(name)
    }

    /// Why the samples cannot be decoded, if so.
    fn undecodable(&self) -> Option<String> {
        let bits = self.bits;
        match self.format {
            SampleFormat::Uint => {}
            SampleFormat::Int => return Some(format!("signed {bits}-bit samples")),
            SampleFormat::IEEEFP => return Some(format!("floating-point samples of {bits} bits")),
            other => return Some(format!("samples of format {}", other.to_u16())),
        }
        match (self.name(), bits) {
            (Some("gray"), 1 | 8 | 16) | (Some("rgb" | "rgba" | "cmyk"), 8 | 16) => {}
            (Some("gray" | "rgb" | "rgba" | "cmyk"), _) => {
                return Some(format!("{bits}-bit samples"));
            }
            (Some("palette"), _) => return Some("palette colours".to_owned()),
            (Some("graya"), _) => return Some("gray with alpha".to_owned()),
            (Some("ycbcr"), _) => return Some("YCbCr colours".to_owned()),
            _ => {}
        }
        let is_known = matches!(
            self.compression,
            CompressionMethod::None
                | CompressionMethod::Fax4
                | CompressionMethod::LZW
                | CompressionMethod::ModernJPEG
                | CompressionMethod::Deflate
                | CompressionMethod::OldDeflate
                | CompressionMethod::PackBits
        );
        (!is_known).then(|| format!("compression {}", self.compression.to_u16()))
    }
}

/// Anything else that the decoder reports as unsupported.
fn unknown_to_decoder(bytes: &[u8]) -> Option<String> {
    match TiffDecoder::new(Cursor::new(bytes)) {
        Err(ImageError::Unsupported(err)) => Some(err.to_string()),
        _ => None,
    }
}

/// Compares the end of the last strip or tile with the end of the file.
fn missing(file: &mut File, bytes: &[u8]) -> TiffResult<Option<String>> {
    let mut table = |tag| file.find_tag_unsigned_vec::<u64>(tag);
    let (offsets, lengths) = match table(Tag::TileOffsets)? {
        Some(offsets) => (Some(offsets), table(Tag::TileByteCounts)?),
        None => (table(Tag::StripOffsets)?, table(Tag::StripByteCounts)?),
    };
    let Some((offsets, lengths)) = offsets.zip(lengths) else {
        return Ok(Some("the first page has no strips or tiles".to_owned()));
    };
    let strips = offsets.iter().zip(lengths);
    let end = strips
        .map(|(offset, length)| offset.saturating_add(length))
        .max()
        .unwrap_or(0);
    let len = bytes.len() as u64;
    Ok((len < end).then(|| format!("expected {end} bytes, found {len}")))
}
