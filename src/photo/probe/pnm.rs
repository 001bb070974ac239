//! The header of a Netpbm file (PBM, PGM, PPM, PAM), and whether its raster lies within it.

use image::metadata::Orientation;

use super::{Header, corrupt, cut_header, unsupported};
use crate::photo::PhotoFormat::Pnm;
use crate::photo::Result;

/// What the header says, whichever of the seven kinds it is.
struct Raster {
    width: u32,
    height: u32,
    channels: u32,
    /// Largest sample; 1 for bitmaps.
    max_sample: u32,
    /// Where the samples start.
    at: usize,
}

pub(super) fn header(bytes: &[u8]) -> Result<Header> {
    let kind = *bytes.get(1).ok_or_else(|| cut_header(Pnm, bytes))?;
    let parsed = if kind == b'7' {
        arbitrary_map(bytes)
    } else {
        classic(bytes, kind)
    };
    let raster = parsed?;
    let expected = raster_len(&raster, kind).unwrap_or(u64::MAX);
    let samples = bytes.get(raster.at..).unwrap_or_default();
    let (found, unit) = match kind {
        b'1' => (
            samples
                .iter()
                .filter(|byte| matches!(byte, b'0' | b'1'))
                .count(),
            "samples",
        ),
        b'2' | b'3' => (
            samples
                .split(u8::is_ascii_whitespace)
                .filter(|word| !word.is_empty())
                .count(),
            "samples",
        ),
        _ => (samples.len(), "bytes of samples"),
    };
    let name = match raster.channels {
        1 => Some("gray"),
        2 => Some("graya"),
        3 => Some("rgb"),
        4 => Some("rgba"),
        _ => None,
    };
    let bits = match raster.max_sample {
        1 => 1,
        2..=255 => 8,
        _ => 16,
    };
    Ok(Header {
        width: raster.width,
        height: raster.height,
        orientation: Orientation::NoTransforms,
        color: name.map(|name| format!("{name}{bits}")),
        missing: ((found as u64) < expected)
            .then(|| format!("expected {expected} {unit}, found {found}")),
    })
}

/// Length of the raster: bytes in the binary kinds, samples in the plain-text ones.
fn raster_len(raster: &Raster, kind: u8) -> Option<u64> {
    let samples_in_row = u64::from(raster.width) * u64::from(raster.channels);
    let row = match kind {
        b'1'..=b'3' => samples_in_row,
        b'4' => samples_in_row.div_ceil(8),
        _ if raster.max_sample < 256 => samples_in_row,
        _ => samples_in_row.checked_mul(2)?,
    };
    row.checked_mul(raster.height.into())
}

/// P1 to P6: width, height and (not for bitmaps) the largest sample, as words.
fn classic(bytes: &[u8], kind: u8) -> Result<Raster> {
    let mut at = 2;
    let width = number(bytes, &mut at)?;
    let height = number(bytes, &mut at)?;
    let max_sample = if matches!(kind, b'1' | b'4') {
        1
    } else {
        number(bytes, &mut at)?
    };
    let channels = if matches!(kind, b'3' | b'6') { 3 } else { 1 };
    // Exactly one white byte stands between the header and the samples.
    Ok(Raster {
        width,
        height,
        channels,
        max_sample,
        at: at + 1,
    })
}

/// P7: lines of a name and a value, closed by `ENDHDR`.
fn arbitrary_map(bytes: &[u8]) -> Result<Raster> {
    let mut raster = Raster {
        width: 0,
        height: 0,
        channels: 0,
        max_sample: 0,
        at: 2,
    };
    loop {
        let name = word(bytes, &mut raster.at).ok_or_else(|| cut_header(Pnm, bytes))?;
        match name {
            b"ENDHDR" => break,
            b"WIDTH" => raster.width = number(bytes, &mut raster.at)?,
            b"HEIGHT" => raster.height = number(bytes, &mut raster.at)?,
            b"DEPTH" => raster.channels = number(bytes, &mut raster.at)?,
            b"MAXVAL" => raster.max_sample = number(bytes, &mut raster.at)?,
            b"TUPLTYPE" => {
                word(bytes, &mut raster.at);
            }
            _ => {
                return Err(unsupported(
                    Pnm,
                    format!("header line '{}'", name.escape_ascii()),
                ));
            }
        }
    }
    raster.at += 1;
    Ok(raster)
}

/// Reads the next word as a number and moves `at` past it.
fn number(bytes: &[u8], at: &mut usize) -> Result<u32> {
    let word = word(bytes, at).ok_or_else(|| cut_header(Pnm, bytes))?;
    std::str::from_utf8(word)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| {
            let start = word.get(..16).unwrap_or(word).escape_ascii();
            corrupt(
                Pnm,
                format!("expected a number in the header, found '{start}'"),
            )
        })
}

/// Next word after white space and `#` comments; moves `at` to the byte after it.
fn word<'a>(bytes: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    loop {
        match *bytes.get(*at)? {
            b'#' => *at += bytes.get(*at..)?.iter().position(|&byte| byte == b'\n')?,
            byte if byte.is_ascii_whitespace() => *at += 1,
            _ => break,
        }
    }
    let rest = bytes.get(*at..)?;
    let length = rest.iter().position(u8::is_ascii_whitespace)?;
    *at += length;
    rest.get(..length)
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
    fn a_word_that_is_no_number_is_named() {
        let error = header(b"P6 12 wide 255 ")
            .err()
            .map(|error| error.to_string());
        let said = "corrupt pnm image: expected a number in the header, found 'wide'";
        assert_eq!(error.as_deref(), Some(said));
    }
}
