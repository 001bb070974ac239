//! The header of a Netpbm file (PBM, PGM, PPM, PAM), and whether its raster lies within it.
//!
//! The decoder reads the header; the size of the raster after it is checked here.

use std::io::Cursor;

use image::codecs::pnm::{PnmDecoder, PnmSubtype, SampleEncoding};
use image::metadata::Orientation;
use image::{ExtendedColorType, ImageDecoder};

use super::{Header, refusal};
use crate::photo::PhotoFormat::Pnm;
use crate::photo::Result;

pub(super) fn header(bytes: &[u8]) -> Result<Header> {
    let refused = |err| refusal(Pnm, bytes, err);
    let decoder = PnmDecoder::new(Cursor::new(bytes)).map_err(refused)?;
    let (width, height) = decoder.dimensions();
    let subtype = decoder.subtype();
    let channels = u64::from(decoder.color_type().channel_count());
    let color = match decoder.original_color_type() {
        ExtendedColorType::L1 => Some("gray1"),
        ExtendedColorType::L8 => Some("gray8"),
        ExtendedColorType::L16 => Some("gray16"),
        ExtendedColorType::La1 => Some("graya1"),
        ExtendedColorType::La8 => Some("graya8"),
        ExtendedColorType::La16 => Some("graya16"),
        ExtendedColorType::Rgb8 => Some("rgb8"),
        ExtendedColorType::Rgb16 => Some("rgb16"),
        ExtendedColorType::Rgba8 => Some("rgba8"),
        ExtendedColorType::Rgba16 => Some("rgba16"),
        _ => None,
    };
    let (raster, header) = decoder.into_inner();
    let raster_at = usize::try_from(raster.position()).unwrap_or(usize::MAX);
    let raster = bytes.get(raster_at..).unwrap_or_default();

    let in_row = u64::from(width) * channels;
    let (in_row, found, unit) = match subtype {
        PnmSubtype::Bitmap(SampleEncoding::Ascii) => (in_row, count_bits(raster), "samples"),
        PnmSubtype::Graymap(SampleEncoding::Ascii) | PnmSubtype::Pixmap(SampleEncoding::Ascii) => {
            (in_row, count_words(raster), "samples")
        }
        PnmSubtype::Bitmap(SampleEncoding::Binary) => {
            (in_row.div_ceil(8), raster.len(), "bytes of samples")
        }
        _ => {
            let sample_len = if header.maximal_sample() < 256 { 1 } else { 2 };
            (in_row * sample_len, raster.len(), "bytes of samples")
        }
    };
    let expected = in_row.saturating_mul(height.into());
    Ok(Header {
        width,
        height,
        orientation: Orientation::NoTransforms,
        color: color.map(str::to_owned),
        undecodable: None,
        raw: None,
        geo: None,
        pages: 1,
        missing: ((found as u64) < expected)
            .then(|| format!("expected {expected} {unit}, found {found}")),
    })
}

/// Counts the samples of a bitmap in plain text, which need no blanks between them.
fn count_bits(raster: &[u8]) -> usize {
    let is_bit = |byte: &&u8| matches!(byte, b'0' | b'1');
    raster.iter().filter(is_bit).count()
}

/// Counts the samples of other formats in plain text.
fn count_words(raster: &[u8]) -> usize {
    let words = raster.split(u8::is_ascii_whitespace);
    words.filter(|word| !word.is_empty()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arbitrary_maps_name_their_sizes() -> Result<()> {
        let mut file =
            b"P7\nWIDTH 2\nHEIGHT 3\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n".to_vec();
        file.extend([7; 24]);
        let whole = header(&file)?;
        assert_eq!(
            (whole.width, whole.height, whole.color.as_deref()),
            (2, 3, Some("rgba8"))
        );
        assert_eq!(whole.missing, None);
        file.pop();
        let cut = header(&file)?;
        assert_eq!(
            cut.missing.as_deref(),
            Some("expected 24 bytes of samples, found 23")
        );
        Ok(())
    }

    #[test]
    fn a_word_that_is_no_number_is_told() {
        let error = header(b"P6 12 wide 255 ")
            .err()
            .map(|error| error.to_string());
        let said = "corrupt pnm image: Non-ASCII-digit character when parsing number in number in preamble";
        assert_eq!(error.as_deref(), Some(said));
    }
}
