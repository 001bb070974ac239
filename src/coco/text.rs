//! Converts the bytes of a COCO file to JSON text: unpacked, without a byte-order mark, and with Python's `NaN` in
//! quotes. Otherwise, an error says what the bytes are instead. Of a file that is such text already, only pieces are read.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use flate2::read::MultiGzDecoder;

use super::index::DatasetIndex;
use super::value::NO_NUMBERS;
use crate::error::{CocoError, FileAction};
use crate::{Error, Result};

/// Limit on the unpacked text of a gzip file in bytes. COCO's largest file has half a gigabyte.
const MAX_UNPACKED: u64 = 16 << 30;
/// Bytes of a file that are read at a time.
const READ_AHEAD: usize = 1 << 16;
/// Bytes of text that an error shows on each side of a fault.
const NEAR: usize = 30;

const UNPACK: &str = "unpack it, and give the JSON file in it";
const SAVE: &str = "save the file as UTF-8";
const OTHER: &str = "give the annotation file itself";

/// How files of other formats start, what they are, and advice.
const SIGNATURES: [(&[u8], &str, &str); 12] = [
    (b"PK\x03\x04", "a ZIP archive", UNPACK),
    (b"PK\x05\x06", "an empty ZIP archive", OTHER),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
    (b"\xfd7zXZ\0", "an xz file", UNPACK),
    (b"BZh", "a bzip2 file", UNPACK),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", UNPACK),
    (b"\x89PNG", "a PNG image", OTHER),
    (b"\xff\xd8\xff", "a JPEG image", OTHER),
    (b"%PDF", "a PDF file", OTHER),
    (b"PAR1", "a Parquet file", OTHER),
    (
        b"version https://git-lfs",
        "a pointer of Git LFS",
        "fetch the file itself with 'git lfs pull'",
    ),
    (b"\0\0\xfe\xff", "text in UTF-32", SAVE),
];

/// Reads a data set file. Returns its text and the index of the text.
///
/// `gzip` files are unpacked. `NaN`, `Infinity` and `-Infinity`, which Python writes although JSON does not have them,
/// become strings, so that only items which need a number there are unusable.
///
/// # Examples
/// ```
/// use grainstore::coco::{self, Annotation};
///
/// let file = br#"{
///     "images": [{"id": 7, "file_name": "cat.jpg", "width": 8, "height": 4}],
///     "categories": [{"id": 3, "name": "cat"}],
///     "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 1, 2, 2]}]
/// }"#;
/// let (text, index) = coco::open(file.to_vec())?;
/// assert_eq!(index.images[0].file_name, "cat.jpg");
/// assert_eq!(index.annotations[0].image_id, 7);
///
/// // What else an annotation says is parsed when it is needed.
/// let annotation = Annotation::parse(&text[index.annotations[0].text.clone()])?;
/// assert_eq!(annotation.bbox, Some([1.0, 1.0, 2.0, 2.0]));
/// # Ok::<(), grainstore::error::CocoError>(())
/// ```
///
/// # Errors
/// [`CocoError`]: what the file is instead of a data set, or what is wrong and where.
pub fn open(bytes: Vec<u8>) -> Result<(String, DatasetIndex), CocoError> {
    let text = text_of(bytes)?;
    match DatasetIndex::parse(&text) {
        Ok(index) => Ok((text, index)),
        Err(err) => match quote_no_numbers(&text) {
            Some(quoted) => {
                let index = DatasetIndex::parse(&quoted)?;
                Ok((quoted, index))
            }
            None => Err(err),
        },
    }
}

/// The text of a data set file: in memory, as that of a packed file, or in the file, from which pieces are read.
#[derive(Debug)]
pub struct Text(Place);

#[derive(Debug)]
enum Place {
    Memory(String),
    File {
        path: PathBuf,
        file: Mutex<File>,
        /// Length and time of change of the file whose index was made.
        state: (u64, Option<SystemTime>),
    },
}

impl Text {
    /// Makes the index of a data set file, as [`open`]. The text of a file that is not packed stays there: it may have gigabytes.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read; [`Error::Content`] for those of [`open`].
    pub fn open(mut file: File, path: &Path) -> Result<(Self, DatasetIndex)> {
        let reading = |err| Error::file(FileAction::Read, path)(err);
        let state = state_of(&file).map_err(reading)?;
        // A pipe can be read only once.
        if file.metadata().map_err(reading)?.is_file() {
            let index = DatasetIndex::read(BufReader::with_capacity(READ_AHEAD, &file));
            if let Some(index) = index {
                let place = Place::File {
                    path: path.to_owned(),
                    file: Mutex::new(file),
                    state,
                };
                return Ok((Self(place), index));
            }
            file.rewind().map_err(reading)?;
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(reading)?;
        Self::of(bytes, path)
    }

    /// [`Text::open`], with the bytes of the file.
    ///
    /// # Errors
    /// [`Error::Content`] for those of [`open`].
    pub fn of(bytes: Vec<u8>, path: &Path) -> Result<(Self, DatasetIndex)> {
        let (text, index) = open(bytes).map_err(|err| Error::Content {
            path: path.to_owned(),
            place: String::new(),
            reason: err.to_string(),
        })?;
        Ok((Self(Place::Memory(text)), index))
    }

    /// A piece of the text.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read; [`Error::Content`] if the file has changed since its index was made.
    pub fn get(&self, piece: Range<usize>) -> Result<Cow<'_, str>> {
        let (path, file, state) = match &self.0 {
            Place::Memory(text) => return Ok(text.get(piece).unwrap_or_default().into()),
            Place::File { path, file, state } => (path, file, state),
        };
        let mut bytes = vec![0; piece.len()];
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let read = file
            .seek(SeekFrom::Start(piece.start as u64))
            .and_then(|_| file.read_exact(&mut bytes));
        let is_same = state_of(&file).is_ok_and(|now| now == *state);
        let changed = || Error::Content {
            path: path.clone(),
            place: String::new(),
            reason: "it was changed while it was read; run the command again".to_owned(),
        };
        if !is_same {
            return Err(changed());
        }
        read.map_err(Error::file(FileAction::Read, path))?;
        Ok(String::from_utf8(bytes).map_err(|_| changed())?.into())
    }
}

fn state_of(file: &File) -> std::io::Result<(u64, Option<SystemTime>)> {
    let metadata = file.metadata()?;
    Ok((metadata.len(), metadata.modified().ok()))
}

fn text_of(bytes: Vec<u8>) -> Result<String, CocoError> {
    let bytes = if bytes.starts_with(b"\x1f\x8b") {
        unpack(&bytes)?
    } else {
        bytes
    };
    if let Some((kind, advice)) = other_format(&bytes) {
        return Err(CocoError::OtherFormat { kind, advice });
    }
    let mut text =
        String::from_utf8(bytes).map_err(|err| not_utf8(err.as_bytes(), &err.utf8_error()))?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    if text.trim_start().is_empty() {
        Err(CocoError::Empty)
    } else {
        Ok(text)
    }
}

fn unpack(bytes: &[u8]) -> Result<Vec<u8>, CocoError> {
    let mut unpacked = Vec::new();
    let mut reader = MultiGzDecoder::new(bytes).take(MAX_UNPACKED + 1);
    let read = reader.read_to_end(&mut unpacked);
    let reason = match read {
        Ok(length) if length as u64 <= MAX_UNPACKED => return Ok(unpacked),
        Ok(_) => format!("it holds more than {MAX_UNPACKED} bytes"),
        Err(err) => err.to_string(),
    };
    Err(CocoError::Gzip { reason })
}

/// The kind of archive that a file begins as.
pub(crate) fn archive(bytes: &[u8]) -> Option<&'static str> {
    let mut archives = SIGNATURES.iter().filter(|(_, _, advice)| *advice == UNPACK);
    let found = archives.find(|(start, ..)| bytes.starts_with(start));
    found.map(|(_, kind, _)| *kind)
}

/// The format of a file that is not UTF-8 text.
fn other_format(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    if bytes.starts_with(b"\xff\xfe\0\0") {
        return Some(("text in UTF-32", SAVE));
    }
    // UTF-16 with a byte-order mark, or with an opening brace of two bytes.
    let utf16: [&[u8]; 4] = [b"\xff\xfe", b"\xfe\xff", b"{\0", b"\0{"];
    if utf16.iter().any(|start| bytes.starts_with(start)) {
        return Some(("text in UTF-16", SAVE));
    }
    let signed = SIGNATURES
        .iter()
        .find(|(start, ..)| bytes.starts_with(start));
    if let Some((_, kind, advice)) = signed {
        return Some((kind, advice));
    }
    let start = bytes
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(bytes)
        .trim_ascii_start();
    if start.starts_with(b"<?xml") {
        return Some(("an XML file", OTHER));
    }
    let html = "log in and download the file again, this may be a page of the web site that has it";
    start.starts_with(b"<").then_some(("an HTML page", html))
}

fn not_utf8(bytes: &[u8], err: &std::str::Utf8Error) -> CocoError {
    let (before, rest) = bytes
        .split_at_checked(err.valid_up_to())
        .unwrap_or((bytes, &[]));
    let line = before.iter().filter(|byte| **byte == b'\n').count();
    let start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let in_line = before.get(start..).unwrap_or_default();
    CocoError::NotUtf8 {
        line: line + 1,
        column: String::from_utf8_lossy(in_line).chars().count() + 1,
        byte: rest.first().copied().unwrap_or_default(),
    }
}

/// The text with every [`NO_NUMBERS`] outside quotes put into quotes; `None` if there is none.
fn quote_no_numbers(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut quoted = String::new();
    let (mut done, mut at, mut in_quotes) = (0, 0, false);
    while let Some(byte) = bytes.get(at) {
        let found = match byte {
            b'"' => {
                in_quotes = !in_quotes;
                None
            }
            b'\\' if in_quotes => {
                at += 2;
                continue;
            }
            b'N' | b'I' | b'-' if !in_quotes => {
                let rest = bytes.get(at..).unwrap_or_default();
                NO_NUMBERS
                    .iter()
                    .find(|word| rest.starts_with(word.as_bytes()))
            }
            _ => None,
        };
        match found {
            Some(word) => {
                quoted.push_str(text.get(done..at)?);
                quoted.push('"');
                quoted.push_str(word);
                quoted.push('"');
                at += word.len();
                done = at;
            }
            None => at += 1,
        }
    }
    if done == 0 {
        return None;
    }
    quoted.push_str(text.get(done..)?);
    Some(quoted)
}

/// The error for a file that the parser rejects.
pub(super) fn not_json(err: &serde_json::Error, text: &str) -> CocoError {
    let (line, column) = (err.line(), err.column());
    if err.is_eof() {
        return CocoError::CutOff { line, column };
    }
    if err.is_data() {
        return CocoError::NotADataset {
            reason: err.to_string(),
        };
    }
    let of_line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let mut start = column.saturating_sub(NEAR).min(of_line.len());
    let mut end = (column + NEAR).min(of_line.len());
    while !of_line.is_char_boundary(start) {
        start -= 1;
    }
    while !of_line.is_char_boundary(end) {
        end += 1;
    }
    CocoError::NotJson {
        reason: reason_of(err),
        line,
        column,
        near: of_line
            .get(start..end)
            .unwrap_or_default()
            .trim()
            .to_owned(),
    }
}

/// The parser's message without its position, which would be wrong for a piece of a file.
pub(crate) fn reason_of(err: &serde_json::Error) -> String {
    let text = err.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    text.get(..end).unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    const WHOLE: &str = r#"{"images": [{"id": 1, "file_name": "é.jpg"}], "categories": []}"#;

    fn gzip(text: &str) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn gzip_and_byte_order_marks_are_read() {
        let marked = format!("\u{feff}{WHOLE}");
        for bytes in [
            WHOLE.as_bytes().to_vec(),
            marked.as_bytes().to_vec(),
            gzip(WHOLE),
            gzip(&marked),
            [gzip(&WHOLE[..20]), gzip(&WHOLE[20..])].concat(),
        ] {
            let (text, index) = open(bytes).unwrap();
            assert_eq!(text, WHOLE);
            assert_eq!(index.images[0].file_name, "é.jpg");
        }
    }

    #[test]
    fn pieces_of_a_file_are_those_of_its_text() {
        let text = r#"{"annotations": [ {"image_id": 1, "note": "é}"} ,{"image_id": 1,"x":[7]}, 12 ],
            "images": [{"id": 1, "file_name": "a"}], "categories": []}"#;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        for (bytes, is_file) in [
            (text.as_bytes().to_vec(), true),
            (gzip(text), false),
            (text.replace("[7]", "NaN").into_bytes(), false),
        ] {
            fs::write(&path, bytes).unwrap();
            let (text, index) = Text::open(File::open(&path).unwrap(), &path).unwrap();
            assert_eq!(matches!(&text.0, Place::File { .. }), is_file);
            assert_eq!((index.annotations.len(), index.unusable.len()), (2, 1));
            let pieces = index.annotations.iter().map(|it| text.get(it.text.clone()));
            let pieces: Vec<String> = pieces.map(|piece| piece.unwrap().into_owned()).collect();
            assert_eq!(pieces[0], r#"{"image_id": 1, "note": "é}"}"#);
            assert!(
                pieces[1].starts_with(r#"{"image_id": 1,"x":"#),
                "{}",
                pieces[1]
            );
            assert!(pieces[1].ends_with('}'), "{}", pieces[1]);
        }
        fs::write(&path, text).unwrap();
        let (whole, index) = Text::open(File::open(&path).unwrap(), &path).unwrap();
        fs::write(&path, "{}").unwrap();
        let gone = whole.get(index.annotations[1].text.clone()).unwrap_err();
        assert!(gone.to_string().contains("x.json"), "{gone}");
        assert!(gone.to_string().contains("it was changed"), "{gone}");
        let latin1: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
        fs::write(&path, latin1).unwrap();
        let message = Text::open(File::open(&path).unwrap(), &path).unwrap_err();
        let message = message.to_string();
        assert!(message.contains("as Latin-1"), "{message}");
    }

    #[test]
    fn other_files_are_named_as_what_they_are() {
        let utf16: Vec<u8> = WHOLE.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let latin1: Vec<u8> = WHOLE.chars().map(|c| u8::try_from(c).unwrap()).collect();
        let packed = gzip(WHOLE);
        for (bytes, part) in [
            (Vec::new(), "the file is empty"),
            (b" \n".to_vec(), "the file is empty"),
            (b"PK\x03\x04...".to_vec(), "this is a ZIP archive"),
            (utf16.clone(), "text in UTF-16"),
            ([b"\xff\xfe".to_vec(), utf16].concat(), "text in UTF-16"),
            (latin1, "line 1, column 37 holds byte 0xE9, as Latin-1"),
            (b"\n <!DOCTYPE html><html>".to_vec(), "this is an HTML page"),
            (b"<?xml version=\"1.0\"?>".to_vec(), "an XML file"),
            (
                packed[..packed.len() / 2].to_vec(),
                "the gzip file cannot be unpacked",
            ),
            (
                b"version https://git-lfs.github.com/spec/v1\n".to_vec(),
                "git lfs pull",
            ),
        ] {
            let message = open(bytes).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn no_numbers_are_quoted_where_they_stand() {
        let text = r#"{"a\"NaN": NaN, "b": [-Infinity, Infinity,-1], "c": "\\", "d": "NaN"}"#;
        let expected =
            r#"{"a\"NaN": "NaN", "b": ["-Infinity", "Infinity",-1], "c": "\\", "d": "NaN"}"#;
        assert_eq!(quote_no_numbers(text).as_deref(), Some(expected));
        assert_eq!(quote_no_numbers(r#"{"NaN": "Infinity"}"#), None);
    }

    #[test]
    fn broken_json_says_where_and_shows_it() {
        let message = open(b"{\"images\": [],\n \"categories\": [nan]}".to_vec())
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("at line 2") && message.contains("[nan]"),
            "{message}"
        );
        let cut = open(WHOLE.as_bytes()[..30].to_vec())
            .unwrap_err()
            .to_string();
        assert!(cut.contains("ends in the middle, at line 1"), "{cut}");
    }
}
