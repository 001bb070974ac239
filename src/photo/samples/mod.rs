//! The samples of a photo as its file holds them, channel by channel.
//!
//! In: a decoded photo, or the bytes of a TIFF. Out: rectangles of samples of any type, one after the other, so that no more
//! than a strip or tile of a TIFF is in memory.

mod tiff_file;

use image::DynamicImage;
use tiff::decoder::DecodingResult;

pub(super) use tiff_file::TiffSamples;

use super::Result;

/// The samples of a photo.
pub(super) enum Samples<'a> {
    /// A photo that is decoded: one chunk.
    Whole(Chunk),
    /// A file of strips or tiles.
    Tiff(Box<TiffSamples<'a>>),
}

/// A rectangle of samples.
pub(super) struct Chunk {
    /// First column.
    pub left: usize,
    /// First row.
    pub top: usize,
    pub width: usize,
    pub height: usize,
    /// The first channel that it holds, from 0.
    pub first: u16,
    /// How many channels it holds, of each pixel together.
    pub channels: u16,
    pub values: DecodingResult,
}

impl<'a> Samples<'a> {
    /// Those of a decoded photo of 8 or 16 bits; `None` for others.
    pub fn of_image(image: DynamicImage) -> Option<Self> {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let channels = u16::from(image.color().channel_count());
        let values = match image {
            DynamicImage::ImageLuma8(it) => DecodingResult::U8(it.into_raw()),
            DynamicImage::ImageLumaA8(it) => DecodingResult::U8(it.into_raw()),
            DynamicImage::ImageRgb8(it) => DecodingResult::U8(it.into_raw()),
            DynamicImage::ImageRgba8(it) => DecodingResult::U8(it.into_raw()),
            DynamicImage::ImageLuma16(it) => DecodingResult::U16(it.into_raw()),
            DynamicImage::ImageLumaA16(it) => DecodingResult::U16(it.into_raw()),
            DynamicImage::ImageRgb16(it) => DecodingResult::U16(it.into_raw()),
            DynamicImage::ImageRgba16(it) => DecodingResult::U16(it.into_raw()),
            _ => return None,
        };
        Some(Self::Whole(Chunk {
            left: 0,
            top: 0,
            width,
            height,
            first: 0,
            channels,
            values,
        }))
    }

    /// Those of a TIFF.
    pub fn of_tiff(file: TiffSamples<'a>) -> Self {
        Self::Tiff(Box::new(file))
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        match self {
            Self::Whole(chunk) => (chunk.width as u32, chunk.height as u32),
            Self::Tiff(file) => file.size,
        }
    }

    /// Samples to a pixel.
    pub fn channels(&self) -> u16 {
        match self {
            Self::Whole(chunk) => chunk.channels,
            Self::Tiff(file) => file.channels(),
        }
    }

    /// Whether values have a range of their own, as those of 8 bits have: 0 is black, the greatest is white.
    pub fn has_own_range(&self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Tiff(file) => file.has_own_range,
        }
    }

    /// Values to a level of 8 bits, of samples that have a range of their own.
    pub fn unit(&self) -> f64 {
        let bits = match self {
            Self::Whole(chunk) => match chunk.values {
                DecodingResult::U16(_) => 16,
                _ => 8,
            },
            Self::Tiff(file) => file.bits,
        };
        if bits == 16 { 256.0 } else { 1.0 }
    }

    /// Whether 0 is white.
    pub fn is_inverted(&self) -> bool {
        match self {
            Self::Whole(_) => false,
            Self::Tiff(file) => file.is_inverted,
        }
    }

    /// The value that says that a pixel has none.
    pub fn missing(&self) -> Option<f64> {
        match self {
            Self::Whole(_) => None,
            Self::Tiff(file) => file.missing,
        }
    }

    /// Visits the samples of channels, counted from 0. Chunks may hold other channels, too.
    pub fn for_each(&mut self, channels: &[u16], mut visit: impl FnMut(&Chunk)) -> Result<()> {
        match self {
            Self::Whole(chunk) => {
                visit(chunk);
                Ok(())
            }
            Self::Tiff(file) => file.for_each(channels, visit),
        }
    }
}

impl Chunk {
    /// Reads a row of a channel; false if the chunk does not hold that channel.
    pub fn read_row(&self, y: usize, channel: u16, row: &mut Vec<f64>) -> bool {
        let Some(channel) = channel
            .checked_sub(self.first)
            .filter(|it| *it < self.channels)
        else {
            return false;
        };
        let step = usize::from(self.channels);
        let place = Place {
            first: y * self.width * step + usize::from(channel),
            step,
            count: self.width,
        };
        row.clear();
        match &self.values {
            DecodingResult::U8(values) => place.read(values, row, f64::from),
            DecodingResult::U16(values) => place.read(values, row, f64::from),
            DecodingResult::U32(values) => place.read(values, row, f64::from),
            DecodingResult::U64(values) => place.read(values, row, |it| it as f64),
            DecodingResult::I8(values) => place.read(values, row, f64::from),
            DecodingResult::I16(values) => place.read(values, row, f64::from),
            DecodingResult::I32(values) => place.read(values, row, f64::from),
            DecodingResult::I64(values) => place.read(values, row, |it| it as f64),
            DecodingResult::F16(values) => place.read(values, row, f64::from),
            DecodingResult::F32(values) => place.read(values, row, f64::from),
            DecodingResult::F64(values) => place.read(values, row, |it| it),
        }
        true
    }
}

/// Where the values of a row are.
struct Place {
    first: usize,
    step: usize,
    count: usize,
}

impl Place {
    fn read<T: Copy>(&self, values: &[T], row: &mut Vec<f64>, number: impl Fn(T) -> f64) {
        let values = values.iter().skip(self.first).step_by(self.step);
        row.extend(values.take(self.count).map(|it| number(*it)));
    }
}
