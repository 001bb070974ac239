//! The first page of a TIFF or BigTIFF file (TIFF 6.0), and whether its strips or tiles lie
//! within the file.
//!
//! The `tiff` crate, which later decodes the page, reads the directory. This module checks that the strips lie within
//! the file and that the samples are of a supported kind: gray, RGB or CMYK of 8 or 16 bits and gray of 1 bit, which the
//! `image` crate decodes, or whole or floating-point numbers of 8 to 64 bits of any channels, palettes of 8 bits and YCbCr
//! in JPEG, which [`samples`](crate::photo::samples) reads.

use std::io::{Cursor, ErrorKind};

use image::ImageError;
use image::codecs::tiff::TiffDecoder;
use image::metadata::Orientation;
use tiff::decoder::Decoder;
use tiff::tags::{CompressionMethod, PlanarConfiguration, SampleFormat, Tag};
use tiff::{TiffError, TiffFormatError, TiffResult};

use super::{Header, RawSamples, corrupt, cut_header, high_bits, unsupported, without_pixels};
use crate::error::PhotoError;
use crate::photo::PhotoFormat::Tiff;
use crate::photo::Result;
use crate::photo::geo::GeoTags;

type File<'a> = Decoder<Cursor<&'a [u8]>>;

/// What the `tiff` crate decompresses.
const COMPRESSIONS: [CompressionMethod; 8] = [
    CompressionMethod::None,
    CompressionMethod::Fax4,
    CompressionMethod::LZW,
    CompressionMethod::ModernJPEG,
    CompressionMethod::Deflate,
    CompressionMethod::OldDeflate,
    CompressionMethod::PackBits,
    CompressionMethod::ZSTD,
];

/// Pages beyond which they are not counted.
const MAX_PAGES: u32 = 10_000;
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
    let is_raw = !samples.is_plain();
    let undecodable = samples
        .undecodable()
        .or_else(|| unknown_to_decoder(bytes).filter(|_| !is_raw))
        .map(|reason| format!("{reason}; {ADVICE}"));
    Ok(Header {
        raw: is_raw.then(|| RawSamples {
            unused: samples.unused(),
        }),
        geo: geo_tags(&mut file).reference(
            (width, height),
            orientation.unwrap_or(Orientation::NoTransforms),
        ),
        width,
        height,
        orientation: orientation.unwrap_or(Orientation::NoTransforms),
        color: samples.name().map(|name| format!("{name}{}", samples.bits)),
        undecodable,
        missing: missing(&mut file, bytes).map_err(refused)?,
        pages: 1 + other_pages(&mut file),
    })
}

/// The pages behind the first that are neither previews nor masks of one, up to the first that cannot be read.
fn other_pages(file: &mut File) -> u32 {
    let mut pages = 0;
    while file.more_images() && pages < MAX_PAGES && file.next_image().is_ok() {
        let kind = file.find_tag_unsigned::<u32>(Tag::NewSubfileType);
        let is_of_another = kind.ok().flatten().is_some_and(|kind| kind & 5 != 0);
        pages += u32::from(!is_of_another);
    }
    pages
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
    /// Whether each channel has strips of its own.
    is_planar: bool,
    /// Whether there are samples beside the colour's that are not alpha.
    has_other_extra: bool,
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
            has_other_extra: first(Tag::ExtraSamples)?.is_some_and(|kind| kind == 0 || kind > 2),
            is_planar: first(Tag::PlanarConfiguration)?
                == Some(PlanarConfiguration::Planar.to_u16()),
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

    /// Whether the `image` crate makes pixels of the samples.
    fn is_plain(&self) -> bool {
        let is_plain = match self.name() {
            Some("gray") => matches!(self.bits, 1 | 8 | 16),
            Some("rgb" | "rgba" | "cmyk") => matches!(self.bits, 8 | 16),
            _ => false,
        };
        // The `tiff` crate drops extra samples other than alpha, and then undoes predictors wrongly.
        let is_whole = !self.has_other_extra;
        is_plain && is_whole && self.format == SampleFormat::Uint && !self.is_planar
    }

    /// Why the samples cannot be decoded, if so.
    fn undecodable(&self) -> Option<String> {
        let (bits, compression) = (self.bits, self.compression);
        let is_jpeg = compression == CompressionMethod::ModernJPEG;
        if !COMPRESSIONS.contains(&compression) {
            return Some(format!("compression {}", compression.to_u16()));
        }
        if self.is_plain() {
            return None;
        }
        match (self.photometric, self.format) {
            (Some(3), _) if bits != 8 || self.count != 1 => {
                return Some(format!("palette colours of {bits} bits"));
            }
            (Some(6), _) if !is_jpeg || self.count != 3 || self.is_planar => {
                return Some("YCbCr colours that are not in JPEG".to_owned());
            }
            (Some(5), _) => {
                let count = self.count;
                return Some(format!("CMYK colours of {count} samples of {bits} bits"));
            }
            (Some(0..=3 | 6), SampleFormat::Uint | SampleFormat::Int | SampleFormat::IEEEFP) => {}
            (Some(0..=3 | 6), other) => {
                return Some(format!("samples of format {}", other.to_u16()));
            }
            (Some(8..=10), _) => return Some("L*a*b* colours".to_owned()),
            (other, _) => {
                let other = other.map_or("none".to_owned(), |it| it.to_string());
                return Some(format!("photometric interpretation {other}"));
            }
        }
        let is_read = match self.format {
            SampleFormat::IEEEFP => matches!(bits, 16 | 32 | 64),
            _ => matches!(bits, 8 | 16 | 32 | 64),
        };
        (!is_read).then(|| format!("{bits}-bit samples"))
    }

    /// What of samples that the `image` crate does not read is left out unless asked for.
    fn unused(&self) -> Option<String> {
        if self.bits == 16 && self.format == SampleFormat::Uint && self.name() == Some("rgb") {
            return Some(high_bits("rgb16"));
        }
        let used = match self.count {
            2 => "channel 1 is",
            4.. => "channels 1, 2 and 3 are",
            _ => return None,
        };
        Some(format!(
            "of {} channels of {} bits, {used} used; extract with --channels to use others",
            self.count, self.bits
        ))
    }
}

/// The tags of a GeoTIFF; those that are not as its standard says are left out.
fn geo_tags(file: &mut File) -> GeoTags {
    let mut numbers = |tag| {
        let value = file.find_tag(tag).ok().flatten()?;
        value.into_f64_vec().ok()
    };
    GeoTags {
        transformation: numbers(Tag::ModelTransformationTag),
        scale: numbers(Tag::ModelPixelScaleTag),
        tie_points: numbers(Tag::ModelTiepointTag),
        keys: file
            .find_tag_unsigned_vec(Tag::GeoKeyDirectoryTag)
            .ok()
            .flatten(),
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
