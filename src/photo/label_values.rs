//! The values of a label map, and a mask for each of them.
//!
//! PNGs may have palettes (1 to 8 bits, of which the indices count) or gray levels (1 to 16 bits); TIFFs have gray
//! levels of 8, 16 or 32 bits, whole numbers from 0 on. Only the first page of a TIFF is read.

use std::collections::BTreeMap;
use std::io::Cursor;

use png::Transformations;
use tiff::TiffError;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;

use super::{PhotoFormat, PhotoInfo, decode_indexed_png, probe};
use crate::error::PhotoError;
use crate::geometry::{Rle, Size};
use crate::{Error, Result};

/// TIFF's photometric interpretation in which 0 is white.
const WHITE_IS_ZERO: u16 = 0;

/// Reads the values of a label map. `check_size` sees its size before pixels are decoded. EXIF orientation is not
/// applied, because a label map is drawn on the upright photo.
///
/// # Shapes
/// bytes -> (height, width) values, row-major.
///
/// # Errors
/// Those of `check_size`; [`Error::Photo`] for damaged files; [`Error::Annotation`] for samples that are no labels.
pub fn read_values(bytes: &[u8], check_size: impl FnOnce(Size) -> Result<()>) -> Result<Vec<u32>> {
    let info = probe(bytes)?;
    let size = stored_size(&info);
    check_size(size)?;
    let values = match (info.format, info.color.as_deref()) {
        (PhotoFormat::Png, Some("gray16")) => png_of_16_bits(bytes)?,
        (PhotoFormat::Png, Some("gray1" | "gray2" | "gray4" | "gray8")) => png_of_8_bits(bytes)?,
        (PhotoFormat::Png, Some(color)) if color.starts_with("palette") => png_of_8_bits(bytes)?,
        (PhotoFormat::Tiff, Some("gray8" | "gray16" | "gray32")) => tiff_values(bytes, &info)?,
        _ => return Err(no_labels(&info)),
    };
    let expected = size.pixels()?;
    if values.len() as u64 == u64::from(expected) {
        Ok(values)
    } else {
        Err(damaged(&info, format!("{} values", values.len())))
    }
}

/// The size of the pixels as they are stored.
fn stored_size(info: &PhotoInfo) -> Size {
    let (width, height) = match info.orientation {
        5..=8 => (info.height, info.width),
        _ => (info.width, info.height),
    };
    Size { height, width }
}

fn no_labels(info: &PhotoInfo) -> Error {
    let color = info.color.as_deref().unwrap_or("unknown samples");
    not_as_expected(info.format, color)
}

fn not_as_expected(format: PhotoFormat, found: &str) -> Error {
    Error::Annotation {
        reason: format!(
            "not a label map: {format} of {found}; expected gray levels of 8, 16 or 32 bits, whole numbers, or a \
             palette in a png"
        ),
    }
}

fn damaged(info: &PhotoInfo, reason: String) -> Error {
    Error::Photo(PhotoError::CorruptImage {
        format: info.format.as_str(),
        reason,
    })
}

fn png_of_8_bits(bytes: &[u8]) -> Result<Vec<u32>> {
    let map = decode_indexed_png(bytes)?;
    Ok(map.indices.into_iter().map(u32::from).collect())
}

fn png_of_16_bits(bytes: &[u8]) -> Result<Vec<u32>> {
    let failed = |source| PhotoError::DecodeLabelMap { source };
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(failed)?;
    let size = reader.output_buffer_size().ok_or(Error::Internal {
        what: "a label map that fits its photo does not fit the memory",
    })?;
    let mut samples = vec![0; size];
    let frame = reader.next_frame(&mut samples).map_err(failed)?;
    samples.truncate(frame.buffer_size());
    let (samples, _) = samples.as_chunks::<2>();
    let samples = samples.iter().copied().map(u16::from_be_bytes);
    Ok(samples.map(u32::from).collect())
}

fn tiff_values(bytes: &[u8], info: &PhotoInfo) -> Result<Vec<u32>> {
    let failed = |err: TiffError| match err {
        TiffError::UnsupportedError(err) => Error::Photo(PhotoError::UnsupportedImage {
            format: info.format.as_str(),
            reason: err.to_string(),
        }),
        err => damaged(info, err.to_string()),
    };
    let pixels = stored_size(info).pixels()?;
    let mut limits = Limits::default();
    let bytes_needed = usize::try_from(u64::from(pixels) * 4).unwrap_or(usize::MAX);
    limits.decoding_buffer_size = limits.decoding_buffer_size.max(bytes_needed);
    limits.intermediate_buffer_size = limits.intermediate_buffer_size.max(bytes_needed);
    let decoder = Decoder::new(Cursor::new(bytes)).map_err(failed)?;
    let mut decoder = decoder.with_limits(limits);
    let photometric = decoder.find_tag_unsigned::<u16>(Tag::PhotometricInterpretation);
    if photometric.map_err(failed)? == Some(WHITE_IS_ZERO) {
        return Err(not_as_expected(info.format, "gray levels whose 0 is white"));
    }
    match decoder.read_image().map_err(failed)? {
        DecodingResult::U8(values) => Ok(values.into_iter().map(u32::from).collect()),
        DecodingResult::U16(values) => Ok(values.into_iter().map(u32::from).collect()),
        DecodingResult::U32(values) => Ok(values),
        DecodingResult::I8(values) => values.into_iter().map(|it| label(it.into())).collect(),
        DecodingResult::I16(values) => values.into_iter().map(|it| label(it.into())).collect(),
        DecodingResult::I32(values) => values.into_iter().map(label).collect(),
        DecodingResult::F16(_) | DecodingResult::F32(_) | DecodingResult::F64(_) => {
            Err(not_as_expected(info.format, "floating-point numbers"))
        }
        _ => Err(no_labels(info)),
    }
}

fn label(value: i32) -> Result<u32> {
    u32::try_from(value).map_err(|_| Error::Annotation {
        reason: format!("it holds value {value}, expected labels from 0 on"),
    })
}

/// The mask of each value, in the order of the values.
///
/// # Shapes
/// (height, width) values, row-major -> masks of `size`.
///
/// # Errors
/// [`Error::MaskTooLarge`].
pub fn masks_of_values(values: &[u32], size: Size) -> Result<Vec<(u32, Rle)>> {
    let mut of_value: BTreeMap<u32, Runs> = BTreeMap::new();
    let (height, width) = (size.height as usize, size.width as usize);
    // The order of COCO's run lengths: down the columns.
    let columns = (0..width).flat_map(|x| (0..height).map(move |y| y * width + x));
    let mut span: Option<(u32, u32)> = None;
    let mut position = 0;
    for value in columns.filter_map(|at| values.get(at).copied()) {
        match span {
            Some((of, _)) if of == value => {}
            _ => {
                end_span(&mut of_value, span, position);
                span = Some((value, position));
            }
        }
        position += 1;
    }
    end_span(&mut of_value, span, position);
    let masks = of_value.into_iter();
    masks
        .map(|(value, runs)| Ok((value, Rle::from_runs(size, runs.lengths)?)))
        .collect()
}

/// Run lengths that begin with background.
#[derive(Default)]
struct Runs {
    lengths: Vec<u32>,
    /// Position after the last foreground pixel.
    end: u32,
}

/// Adds the pixels from a span's beginning to `end` to the runs of its value.
fn end_span(of_value: &mut BTreeMap<u32, Runs>, span: Option<(u32, u32)>, end: u32) {
    if let Some((value, start)) = span {
        let runs = of_value.entry(value).or_default();
        runs.lengths.extend([start - runs.end, end - start]);
        runs.end = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        height: 3,
        width: 4,
    };

    #[test]
    fn each_value_is_a_mask() {
        #[rustfmt::skip]
        let values = [
            7, 7, 0, 9,
            0, 7, 9, 9,
            7, 0, 0, u32::MAX,
        ];
        let found = masks_of_values(&values, SIZE).unwrap();
        assert_eq!(
            found.iter().map(|(value, _)| *value).collect::<Vec<_>>(),
            [0, 7, 9, u32::MAX]
        );
        for (value, mask) in found {
            let expected: Vec<u8> = values.iter().map(|it| u8::from(*it == value)).collect();
            assert_eq!(
                mask,
                Rle::from_row_major(SIZE, &expected).unwrap(),
                "{value}"
            );
        }
        let full = masks_of_values(&[1; 12], SIZE).unwrap();
        assert_eq!(full, [(1, Rle::full(SIZE).unwrap())]);
    }

    #[test]
    fn sizes_are_checked_before_pixels_are_read() {
        let mut png = Cursor::new(Vec::new());
        let map = image::GrayImage::from_raw(4, 3, (0..12).collect()).unwrap();
        map.write_to(&mut png, image::ImageFormat::Png).unwrap();
        let bytes = png.into_inner();
        let mut seen = None;
        let values = read_values(&bytes, |size| {
            seen = Some(size);
            Ok(())
        });
        assert_eq!(values.unwrap(), (0..12).collect::<Vec<_>>());
        assert_eq!(seen, Some(SIZE));
        let refused = read_values(&bytes, |_| {
            Err(Error::Annotation {
                reason: "no".to_owned(),
            })
        });
        assert_eq!(refused.unwrap_err().to_string(), "no");
    }
}
