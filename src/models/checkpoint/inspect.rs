//! Recognises a file by its first bytes and its size.
//!
//! In: a file that was named as weights. Out: the reader for it, or what it is instead. Web pages, pointers and
//! incomplete downloads are the files that people most often have in place of weights.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::files::cannot_open;
use crate::error::{NotWeights, PhotoError};
use crate::models::error::{ModelError, Result};
use crate::photo::PhotoFormat;

/// The format that a file appears to be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Safetensors: the length of a JSON header, the header, then values.
    Safetensors,
    /// Anything else: a ZIP archive, a pickle, or bytes that PyTorch's reader rejects.
    Pytorch,
}

/// The size of a file and its first bytes.
pub(super) struct Start {
    bytes: Vec<u8>,
    size: u64,
}

/// Number of first bytes to read, enough for a web page's title.
const START: u64 = 4096;

/// The longest header that the format allows.
const MAX_HEADER: u64 = 100_000_000;

/// Number of characters of a text that a message shows.
const SHOWN: usize = 60;

/// Signatures of archives.
const ARCHIVES: [(&[u8], &str); 6] = [
    (b"\x1f\x8b", "gzip"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
    (b"BZh", "bzip2"),
    (b"Rar!\x1a\x07", "RAR"),
];

/// Signatures of other files that hold weights or arrays.
const FORMATS: [(&[u8], &str); 3] = [
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"GGUF", "GGUF"),
    (b"\x93NUMPY", "NumPy"),
];

impl Start {
    /// # Errors
    /// [`ModelError::OpenCheckpoint`] if the file cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(cannot_open(path))?;
        let size = file.metadata().map_err(cannot_open(path))?.len();
        let mut bytes = Vec::new();
        let read = file.take(START).read_to_end(&mut bytes);
        read.map_err(cannot_open(path))?;
        Ok(Self { bytes, size })
    }

    /// The reader for the file.
    ///
    /// # Errors
    /// [`NotWeights`] with what the file is instead, if its first bytes leave no doubt.
    pub fn format(&self) -> Result<Format, NotWeights> {
        let bytes = self.bytes.as_slice();
        if bytes.is_empty() {
            return Err(NotWeights::Empty);
        }
        if bytes.starts_with(b"version https://git-lfs.github.com/spec/") {
            let text = String::from_utf8_lossy(bytes);
            let size = text.lines().find_map(|line| line.strip_prefix("size "));
            return Err(NotWeights::LfsPointer {
                size: size.and_then(|size| size.trim().parse().ok()),
            });
        }
        if let Some(header) = self.safetensors_header() {
            if header > MAX_HEADER || header > self.size.saturating_sub(8) {
                return Err(NotWeights::SafetensorsHeader {
                    header,
                    found: self.size,
                });
            }
            return Ok(Format::Safetensors);
        }
        if let Some(text) = self.text() {
            not_markup(&text)?;
        }
        match PhotoFormat::guess(bytes) {
            Ok(format) => return Err(NotWeights::Photo { format }),
            Err(PhotoError::UnsupportedFormat { name }) => {
                return Err(NotWeights::OtherFormat { format: name });
            }
            Err(_) => {}
        }
        let named = |signatures: &[(&[u8], &'static str)]| {
            let found = signatures
                .iter()
                .find(|(start, _)| bytes.starts_with(start));
            found.map(|(_, name)| *name)
        };
        if let Some(format) = named(&ARCHIVES) {
            return Err(NotWeights::Archive { format });
        }
        if let Some(format) = named(&FORMATS) {
            return Err(NotWeights::OtherFormat { format });
        }
        Ok(Format::Pytorch)
    }

    /// # Errors
    /// [`NotWeights::Text`] if the file is text. Call this only after PyTorch's reader has rejected the file, because
    /// the oldest form of pickles is text, too.
    pub fn not_text(&self) -> Result<(), NotWeights> {
        match self.text() {
            None => Ok(()),
            Some(text) => Err(NotWeights::Text {
                start: shown(&text),
            }),
        }
    }

    /// What a file is that PyTorch's reader has rejected, if its bytes show it.
    pub fn refused(&self, path: &Path) -> Result<Option<NotWeights>> {
        if self.bytes.starts_with(b"PK\x03\x04") {
            return Ok(if has_zip_end(path, self.size)? {
                None
            } else {
                Some(NotWeights::Cut {
                    expected: None,
                    found: self.size,
                })
            });
        }
        let is_pickle = self.bytes.first() == Some(&0x80) && self.size > 1;
        let start = self.bytes.iter().take(8);
        let start: Vec<String> = start.map(|byte| format!("{byte:02x}")).collect();
        Ok((!is_pickle).then(|| NotWeights::Unknown {
            start: start.join(" "),
        }))
    }

    /// Size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Offset of the values in a safetensors file.
    pub fn safetensors_data(&self) -> u64 {
        self.safetensors_header().unwrap_or(0).saturating_add(8)
    }

    /// The length of the header, if the file starts like safetensors.
    fn safetensors_header(&self) -> Option<u64> {
        let length = self.bytes.first_chunk::<8>()?;
        // Text has no zero bytes, but the length of a header below 2^56 bytes has one.
        let is_one = self.bytes.get(8) == Some(&b'{') && length.contains(&0);
        is_one.then(|| u64::from_le_bytes(*length))
    }

    /// The first characters of the file, if it is text.
    fn text(&self) -> Option<String> {
        let bytes = self
            .bytes
            .strip_prefix(b"\xef\xbb\xbf")
            .unwrap_or(&self.bytes);
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            // The last character may be cut where the bytes end.
            Err(err) if err.error_len().is_none() => {
                std::str::from_utf8(bytes.get(..err.valid_up_to())?).ok()?
            }
            Err(_) => return None,
        };
        let is_text =
            !text.is_empty() && !text.chars().any(|c| c.is_control() && !c.is_whitespace());
        is_text.then(|| text.trim_start().to_owned())
    }
}

/// # Errors
/// [`NotWeights`] if the text is HTML, XML or JSON.
fn not_markup(text: &str) -> Result<(), NotWeights> {
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("<!doctype html")
        || lower.starts_with("<html")
        || lower.starts_with("<head")
    {
        return Err(NotWeights::WebPage {
            title: element(text, &lower, "title"),
        });
    }
    if text.starts_with('<') {
        return Err(NotWeights::Xml {
            code: element(text, &lower, "code"),
        });
    }
    if text.starts_with(['{', '[']) {
        return Err(NotWeights::Json { start: shown(text) });
    }
    Ok(())
}

/// The text of the first element with a name. `lower` is the document in lower case.
fn element(text: &str, lower: &str, name: &str) -> Option<String> {
    let from = lower.find(&format!("<{name}"))?;
    let from = from + lower.get(from..)?.find('>')? + 1;
    let to = from + lower.get(from..)?.find("</")?;
    let found = shown(text.get(from..to)?);
    (!found.is_empty()).then_some(found)
}

/// The first characters of a text, on one line.
fn shown(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

/// Whether a ZIP archive has its table of contents, which is written last.
fn has_zip_end(path: &Path, size: u64) -> Result<bool> {
    // The record has 22 bytes and may be followed by a comment of at most 65,535 bytes.
    let tail = size.min(22 + 65_535);
    let mut file = File::open(path).map_err(cannot_open(path))?;
    let mut bytes = Vec::new();
    let seek = file.seek(SeekFrom::Start(size - tail));
    seek.map_err(cannot_open(path))?;
    let read = file.take(tail).read_to_end(&mut bytes);
    read.map_err(cannot_open(path))?;
    let whole = bytes.get(..bytes.len().saturating_sub(18)).unwrap_or(&[]);
    Ok(whole.windows(4).any(|part| part == b"PK\x05\x06"))
}

/// The error for a file that is something other than weights.
pub(super) fn not_weights(path: &Path) -> impl Fn(NotWeights) -> ModelError + '_ {
    |kind| ModelError::NotWeights {
        path: path.to_owned(),
        kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(bytes: &[u8]) -> Start {
        Start {
            bytes: bytes.to_vec(),
            size: bytes.len() as u64,
        }
    }

    #[test]
    fn what_people_have_in_the_place_of_weights_is_named() {
        let page = b"\xef\xbb\xbf<HTML><head><Title lang='en'>\n Quota &amp;\n exceeded </title>";
        let long = format!("[\"{}\"]", "\u{e9}".repeat(90));
        let cases: [(&[u8], &str); 10] = [
            (b"", "is empty"),
            (
                page,
                "a web page titled 'Quota &amp; exceeded', not weights",
            ),
            (b"<html></html>", "a web page, not weights"),
            (
                b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code>",
                "XML document that says 'NoSuchKey'",
            ),
            (b"<svg/>", "XML document, not weights"),
            (long.as_bytes(), "...', not weights"),
            (b"\x1f\x8b\x08\0", "a gzip archive; unpack it"),
            (b"\x89HDF\r\n\x1a\n", "a file of format HDF5"),
            (b"\xff\xd8\xff\xe0", "a photo (jpeg)"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize x\n",
                "not the file it points to; run",
            ),
        ];
        for (bytes, expected) in cases {
            let found = start(bytes).format().unwrap_err().to_string();
            assert!(found.contains(expected), "{found}");
        }
    }

    #[test]
    fn readers_get_what_may_be_theirs() {
        let header = |length: u64| [&length.to_le_bytes()[..], b"{}"].concat();
        assert_eq!(start(&header(2)).format(), Ok(Format::Safetensors));
        for length in [3, MAX_HEADER + 1, 1 << 60, u64::MAX - 255] {
            let found = start(&header(length)).format().unwrap_err().to_string();
            assert!(
                found.contains(&format!("takes {length} bytes, and has 10 bytes")),
                "{found}"
            );
        }
        for bytes in [&b"PK\x03\x04"[..], b"\x80\x02}", b"cos\nsystem\n", b"\0"] {
            assert_eq!(start(bytes).format(), Ok(Format::Pytorch));
        }
    }
}
