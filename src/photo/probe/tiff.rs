//! The first page of a TIFF or BigTIFF file (TIFF 6.0), and whether its strips or tiles lie
//! within the file.

use image::metadata::Orientation;

use super::bytes::Endian;
use super::{Header, corrupt, cut_header, unsupported};
use crate::photo::PhotoFormat::Tiff;
use crate::photo::Result;

/// Tags that are read here.
mod tag {
    pub const NEW_SUBFILE_TYPE: u16 = 254;
    pub const IMAGE_WIDTH: u16 = 256;
    pub const IMAGE_LENGTH: u16 = 257;
    pub const BITS_PER_SAMPLE: u16 = 258;
    pub const PHOTOMETRIC: u16 = 262;
    pub const STRIP_OFFSETS: u16 = 273;
    pub const ORIENTATION: u16 = 274;
    pub const SAMPLES_PER_PIXEL: u16 = 277;
    pub const STRIP_BYTE_COUNTS: u16 = 279;
    pub const TILE_OFFSETS: u16 = 324;
    pub const TILE_BYTE_COUNTS: u16 = 325;
}

/// A TIFF file, classic or big.
struct File<'a> {
    bytes: &'a [u8],
    endian: Endian,
    big: bool,
}

/// One entry of a directory: an array of unsigned integers.
#[derive(Clone, Copy)]
struct Entry {
    tag: u16,
    /// Bytes of one value: 1, 2, 4 or 8.
    size: usize,
    count: usize,
    values_at: usize,
}

pub(super) fn header(bytes: &[u8]) -> Result<Header> {
    let little = bytes.first() == Some(&b'I');
    let file = File {
        bytes,
        endian: if little { Endian::Little } else { Endian::Big },
        big: matches!(bytes, [_, _, 43, _, ..] | [_, _, _, 43, ..]),
    };
    let entries = file
        .first_directory()
        .ok_or_else(|| cut_header(Tiff, bytes))?;
    let first = |tag: u16| {
        let entry = entries.iter().find(|entry| entry.tag == tag)?;
        file.value(entry, 0)
    };
    let size = |tag: u16, name: &str| {
        let value =
            first(tag).ok_or_else(|| corrupt(Tiff, format!("the first page has no {name}")))?;
        u32::try_from(value).map_err(|_| corrupt(Tiff, format!("{name} of {value}")))
    };
    if first(tag::NEW_SUBFILE_TYPE).is_some_and(|kind| kind & 1 == 1) {
        return Err(unsupported(
            Tiff,
            "its first page is a preview, as in camera raw files",
        ));
    }
    let orientation =
        first(tag::ORIENTATION).and_then(|value| Orientation::from_exif(u8::try_from(value).ok()?));
    Ok(Header {
        width: size(tag::IMAGE_WIDTH, "width")?,
        height: size(tag::IMAGE_LENGTH, "height")?,
        orientation: orientation.unwrap_or(Orientation::NoTransforms),
        color: color(
            first(tag::PHOTOMETRIC),
            first(tag::SAMPLES_PER_PIXEL).unwrap_or(1),
            first(tag::BITS_PER_SAMPLE).unwrap_or(1),
        ),
        missing: file.missing(&entries),
    })
}

/// Names the samples from the page's photometric interpretation.
fn color(photometric: Option<u64>, samples: u64, bits: u64) -> Option<String> {
    let name = match (photometric?, samples) {
        (0 | 1, 1) => "gray",
        (0 | 1, 2) => "graya",
        (2, 3) => "rgb",
        (2, 4) => "rgba",
        (3, 1) => "palette",
        (5, 4) => "cmyk",
        (6, 3) => "ycbcr",
        _ => return None,
    };
    Some(format!("{name}{bits}"))
}

impl File<'_> {
    /// Entries of the first page; `None` when they do not lie within the file.
    fn first_directory(&self) -> Option<Vec<Entry>> {
        let directory_at = self.offset(if self.big { 8 } else { 4 })?;
        let (count, mut at) = if self.big {
            (
                self.endian.u64(self.bytes, directory_at)?,
                directory_at.checked_add(8)?,
            )
        } else {
            (
                self.endian.u16(self.bytes, directory_at)?.into(),
                directory_at.checked_add(2)?,
            )
        };
        let entry_len = if self.big { 20 } else { 12 };
        let mut entries = Vec::new();
        for _ in 0..count {
            let end = at.checked_add(entry_len)?;
            self.bytes.get(at..end)?;
            // Values of other types (text, fractions) are not needed here.
            if let Some(entry) = self.entry(at) {
                entries.push(entry);
            }
            at = end;
        }
        self.offset(at)?; // of the next page: the directory's last field
        Some(entries)
    }

    fn entry(&self, at: usize) -> Option<Entry> {
        let size = match self.endian.u16(self.bytes, at + 2)? {
            1 => 1,
            3 => 2,
            4 | 13 => 4,
            16 | 18 => 8,
            _ => return None,
        };
        let count = self.offset(at + 4)?;
        let (value_at, inline_len) = if self.big { (at + 12, 8) } else { (at + 8, 4) };
        let fits = count.checked_mul(size)? <= inline_len;
        let values_at = if fits {
            value_at
        } else {
            self.offset(value_at)?
        };
        Some(Entry {
            tag: self.endian.u16(self.bytes, at)?,
            size,
            count,
            values_at,
        })
    }

    /// Reads a number of the file's offset size: 4 bytes, or 8 in BigTIFF.
    fn offset(&self, at: usize) -> Option<usize> {
        if self.big {
            usize::try_from(self.endian.u64(self.bytes, at)?).ok()
        } else {
            usize::try_from(self.endian.u32(self.bytes, at)?).ok()
        }
    }

    fn value(&self, entry: &Entry, index: usize) -> Option<u64> {
        let at = entry
            .values_at
            .checked_add(index.checked_mul(entry.size)?)?;
        match entry.size {
            1 => self.bytes.get(at).copied().map(u64::from),
            2 => self.endian.u16(self.bytes, at).map(u64::from),
            4 => self.endian.u32(self.bytes, at).map(u64::from),
            _ => self.endian.u64(self.bytes, at),
        }
    }

    /// Compares the end of the last strip or tile with the end of the file.
    fn missing(&self, entries: &[Entry]) -> Option<String> {
        let find = |tag: u16| entries.iter().find(|entry| entry.tag == tag);
        let tiled = find(tag::TILE_OFFSETS).zip(find(tag::TILE_BYTE_COUNTS));
        let striped = find(tag::STRIP_OFFSETS).zip(find(tag::STRIP_BYTE_COUNTS));
        let Some((offsets, lengths)) = tiled.or(striped) else {
            return Some("the first page has no strips or tiles".to_owned());
        };
        let len = self.bytes.len() as u64;
        let mut end = 0;
        for index in 0..offsets.count {
            let Some(offset) = self.value(offsets, index) else {
                return Some(format!(
                    "the table of strips or tiles runs past its {len} bytes"
                ));
            };
            let length = self.value(lengths, index).unwrap_or(0);
            end = end.max(offset.saturating_add(length));
        }
        (len < end).then(|| format!("expected {end} bytes, found {len}"))
    }
}
