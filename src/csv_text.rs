//! CSV as people and spreadsheets write it: with a byte order mark, blanks around cells, lines that end in CRLF.

/// The text without a byte order mark.
pub(crate) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// A reader of a text that begins with a header.
pub(crate) fn reader(text: &[u8]) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text)
}

/// The line of a position in a text, from 1. The reader itself counts the second byte of a CRLF as the start of the next
/// record.
pub(crate) fn line(text: &[u8], at: &csv::Position) -> u64 {
    let cut = text.get(at.byte() as usize) == Some(&b'\n');
    at.line() + u64::from(cut)
}
