//! The samples of the first page of a TIFF, strip by strip or tile by tile.
//!
//! The `tiff` crate drops samples that a page's photometric interpretation does not name, such as infrared beside red, green
//! and blue, and knows no palettes. So it is given the page as one whose samples have no interpretation, and colours are made
//! here.

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::ops::Range;

use half::f16;
use tiff::TiffError;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::{PlanarConfiguration, SampleFormat, Tag};

use super::Chunk;
use crate::error::PhotoError;
use crate::photo::{DecodeLimits, PhotoFormat, Result};

const WHITE_IS_ZERO: u16 = 0;
const BLACK_IS_ZERO: u16 = 1;
const PALETTE: u16 = 3;
const YCBCR: u16 = 6;

/// The samples of a page.
pub(in crate::photo) struct TiffSamples<'a> {
    decoder: Decoder<Overlay<'a>>,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Samples to a pixel, as stored.
    samples: u16,
    pub bits: u16,
    pub has_own_range: bool,
    pub is_inverted: bool,
    pub missing: Option<f64>,
    is_planar: bool,
    colours: Colours,
}

/// What the samples of a page are.
enum Colours {
    /// Channels.
    Channels,
    /// Indices of colours, red, green and blue of each.
    Palette(Vec<[u8; 3]>),
    /// Luma and two chromas, as JPEG has them.
    YCbCr,
}

impl<'a> TiffSamples<'a> {
    /// Reads the directory of a file that [`probe`](crate::photo::probe) found to be decodable.
    ///
    /// # Errors
    /// [`PhotoError::CorruptImage`].
    pub fn open(bytes: &'a [u8], limits: &DecodeLimits) -> Result<Self> {
        let plain = Overlay::plain(bytes);
        let mut file = Decoder::new(plain).map_err(damaged)?;
        let interpretation = file.find_tag_unsigned::<u16>(Tag::PhotometricInterpretation);
        let interpretation = interpretation.map_err(damaged)?.unwrap_or(BLACK_IS_ZERO);
        let place = file.ifd_pointer().map(|pointer| pointer.0);
        let place = place.and_then(|at| place_of_value(bytes, at, Tag::PhotometricInterpretation));
        let place = place.ok_or_else(|| corrupt("it says nothing of how to show its samples"))?;

        let patched = Overlay::over(bytes, place, BLACK_IS_ZERO);
        let max_bytes = usize::try_from(limits.max_bytes).unwrap_or(usize::MAX);
        let mut of_decoder = Limits::default();
        of_decoder.decoding_buffer_size = max_bytes;
        of_decoder.intermediate_buffer_size = max_bytes;
        let decoder = Decoder::new(patched).map_err(damaged)?;
        let mut decoder = decoder.with_limits(of_decoder);
        let size = decoder.dimensions().map_err(damaged)?;
        let mut first = |tag| {
            let values = decoder.find_tag_unsigned_vec::<u16>(tag).map_err(damaged)?;
            Ok::<_, PhotoError>(values.and_then(|values| values.first().copied()))
        };
        let samples = first(Tag::SamplesPerPixel)?.unwrap_or(1);
        let bits = first(Tag::BitsPerSample)?.unwrap_or(1);
        let kind = first(Tag::SampleFormat)?.unwrap_or(1);
        let is_unsigned = kind == SampleFormat::Uint.to_u16();
        let is_planar =
            first(Tag::PlanarConfiguration)? == Some(PlanarConfiguration::Planar.to_u16());
        let is_alpha = matches!(first(Tag::ExtraSamples)?, None | Some(1 | 2));
        let colours = match interpretation {
            PALETTE => Colours::Palette(palette(&mut decoder)?),
            YCBCR => Colours::YCbCr,
            _ => Colours::Channels,
        };
        // Gray and RGB of 16 bits are not scaled, as in files of other formats.
        let is_photo = match (interpretation, samples) {
            (0 | 1, 1) | (2, 3) => true,
            (2, 4) => is_alpha,
            _ => false,
        };
        let missing = decoder.get_tag_ascii_string(Tag::GdalNodata).ok();
        let missing = missing.and_then(|text| text.trim().parse().ok());
        // As precise as the samples, which have to be equal to it.
        let missing = missing.map(|value: f64| match bits {
            16 if kind == SampleFormat::IEEEFP.to_u16() => f16::from_f64(value).to_f64(),
            32 if kind == SampleFormat::IEEEFP.to_u16() => single(value),
            _ => value,
        });
        // In a palette, the value that is missing is an index, whose colour says so.
        let missing = missing.filter(|_| interpretation != PALETTE);
        Ok(Self {
            size,
            samples,
            bits,
            has_own_range: is_unsigned && (bits == 8 || bits == 16 && is_photo),
            is_inverted: interpretation == WHITE_IS_ZERO,
            missing,
            is_planar,
            colours,
            decoder,
        })
    }

    /// Channels of a pixel, once colours are made.
    pub fn channels(&self) -> u16 {
        match self.colours {
            Colours::Channels => self.samples,
            Colours::Palette(_) | Colours::YCbCr => 3,
        }
    }

    /// Bytes of a strip or tile in memory, at most.
    pub fn bytes_of_a_chunk(&self) -> u64 {
        let (width, height) = self.decoder.chunk_dimensions();
        let height = height.min(self.size.1);
        let samples = if self.is_planar {
            1
        } else {
            self.samples.max(self.channels())
        };
        let bytes = u64::from(self.bits.div_ceil(8)) * u64::from(samples);
        u64::from(width)
            .saturating_mul(u64::from(height))
            .saturating_mul(bytes)
    }

    /// Visits the samples of channels, counted from 0.
    pub fn for_each(&mut self, channels: &[u16], mut visit: impl FnMut(&Chunk)) -> Result<()> {
        let planes = if self.is_planar { self.samples } else { 1 };
        let (width, height) = self.decoder.chunk_dimensions();
        let across = self.size.0.div_ceil(width.max(1)).max(1);
        let down = self.size.1.div_ceil(height.max(1)).max(1);
        let of_plane = across.saturating_mul(down);
        for index in 0..of_plane.saturating_mul(u32::from(planes)) {
            let plane = (index / of_plane) as u16;
            if self.is_planar && !channels.contains(&plane) {
                continue;
            }
            let at = index % of_plane;
            let values = self.decoder.read_chunk(index).map_err(damaged)?;
            let chunk_size = self.decoder.chunk_data_dimensions(index);
            let values = self.colours.of(values);
            let (left, top) = (at % across * width, at / across * height);
            // The decoder cuts the padding of tiles in the first plane alone.
            let rows = chunk_size.1.min(self.size.1.saturating_sub(top));
            visit(&Chunk {
                left: left as usize,
                top: top as usize,
                width: chunk_size.0 as usize,
                height: rows as usize,
                first: plane,
                channels: if self.is_planar { 1 } else { self.channels() },
                values,
            });
        }
        Ok(())
    }
}

impl Colours {
    /// The colours of samples, or the samples themselves.
    fn of(&self, values: DecodingResult) -> DecodingResult {
        match (self, values) {
            (Self::Palette(colours), DecodingResult::U8(indices)) => {
                let colour = |index: u8| colours.get(usize::from(index)).copied();
                let rgb = indices
                    .into_iter()
                    .flat_map(|index| colour(index).unwrap_or_default());
                DecodingResult::U8(rgb.collect())
            }
            (Self::YCbCr, DecodingResult::U8(mut pixels)) => {
                let (of_pixel, _) = pixels.as_chunks_mut::<3>();
                for pixel in of_pixel {
                    *pixel = rgb_of_ycbcr(*pixel);
                }
                DecodingResult::U8(pixels)
            }
            (_, values) => values,
        }
    }
}

/// The colour of luma and chroma (JFIF 1.02).
fn rgb_of_ycbcr(pixel: [u8; 3]) -> [u8; 3] {
    let [y, cb, cr] = pixel.map(f32::from);
    let (cb, cr) = (cb - 128.0, cr - 128.0);
    let rgb = [
        y + 1.402 * cr,
        y - 0.344_136 * cb - 0.714_136 * cr,
        y + 1.772 * cb,
    ];
    rgb.map(|it| (it + 0.5) as u8)
}

/// The colours of a palette of 8 bits: the high bytes of all reds, then greens, then blues.
fn palette(decoder: &mut Decoder<Overlay<'_>>) -> Result<Vec<[u8; 3]>> {
    let map = decoder.find_tag_unsigned_vec::<u16>(Tag::ColorMap);
    let map = map.map_err(damaged)?.unwrap_or_default();
    if map.len() != 3 * 256 {
        return Err(corrupt(format!(
            "its palette has {} numbers, expected 768",
            map.len()
        )));
    }
    let (red, rest) = map.split_at(256);
    let (green, blue) = rest.split_at(256);
    let colours = red.iter().zip(green).zip(blue);
    Ok(colours
        .map(|((red, green), blue)| [*red, *green, *blue].map(|it| it.to_be_bytes()[0]))
        .collect())
}

/// Where the value of a tag of a directory is, if it is a short number.
fn place_of_value(bytes: &[u8], directory: u64, tag: Tag) -> Option<Range<usize>> {
    let at = usize::try_from(directory).ok()?;
    let is_little = bytes.starts_with(b"II");
    let short = |at: usize| {
        let two = *bytes.get(at..)?.first_chunk::<2>()?;
        Some(if is_little {
            u16::from_le_bytes(two)
        } else {
            u16::from_be_bytes(two)
        })
    };
    let is_big = short(2)? == 43;
    let (count, first, length, value) = if is_big {
        // The low two bytes of a count of eight are enough: a directory has fewer than 65,536 entries.
        let low = if is_little { at } else { at + 6 };
        (short(low)?, at + 8, 20, 12)
    } else {
        (short(at)?, at + 2, 12, 8)
    };
    let mut entries = (0..usize::from(count)).map(|entry| first + entry * length);
    let entry = entries.find(|entry| short(*entry) == Some(tag.to_u16()))?;
    Some(entry + value..entry + value + 2)
}

/// A file in which two bytes are read as others.
struct Overlay<'a> {
    file: Cursor<&'a [u8]>,
    is_little: bool,
    place: Range<usize>,
    value: u16,
}

impl<'a> Overlay<'a> {
    /// The file as it is.
    fn plain(bytes: &'a [u8]) -> Self {
        Self::over(bytes, 0..0, 0)
    }

    /// The file with a short number in place of another.
    fn over(bytes: &'a [u8], place: Range<usize>, value: u16) -> Self {
        Self {
            file: Cursor::new(bytes),
            is_little: bytes.starts_with(b"II"),
            place,
            value,
        }
    }
}

impl Read for Overlay<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let start = self.file.position() as usize;
        let count = self.file.read(buffer)?;
        if self.place.start < start + count && start < self.place.end {
            let value = if self.is_little {
                self.value.to_le_bytes()
            } else {
                self.value.to_be_bytes()
            };
            for (at, byte) in self.place.clone().zip(value) {
                let read = at.checked_sub(start).filter(|it| *it < count);
                if let Some(to) = read.and_then(|it| buffer.get_mut(it)) {
                    *to = byte;
                }
            }
        }
        Ok(count)
    }
}

impl Seek for Overlay<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

fn corrupt(reason: impl Into<String>) -> PhotoError {
    PhotoError::CorruptImage {
        format: PhotoFormat::Tiff.as_str(),
        reason: reason.into(),
    }
}

fn damaged(err: TiffError) -> PhotoError {
    match err {
        TiffError::UnsupportedError(err) => PhotoError::UnsupportedImage {
            format: PhotoFormat::Tiff.as_str(),
            reason: err.to_string(),
        },
        err => corrupt(err.to_string()),
    }
}

/// A number in 32 bits. Decimals that were cut short may lie beyond the greatest finite one.
fn single(value: f64) -> f64 {
    let rounded = value as f32;
    if value.is_finite() {
        f64::from(rounded.clamp(f32::MIN, f32::MAX))
    } else {
        f64::from(rounded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_decimals_are_the_nearest_samples() {
        for text in [
            "-3.4028234663852886e+38",
            "-3.4028235e38",
            "-3.40282346638529e+38",
            "-3.402823e39",
        ] {
            let value = single(text.parse().unwrap());
            let expected = match text {
                "-3.402823e39" => f32::MIN,
                _ => text.parse::<f32>().unwrap().max(f32::MIN),
            };
            assert_eq!(value, f64::from(expected), "{text}");
        }
        assert_eq!(single(-9999.9), f64::from(-9999.9f32));
        assert_eq!(single(f64::NEG_INFINITY), f64::NEG_INFINITY);
        assert!(single(f64::NAN).is_nan());
    }
}
