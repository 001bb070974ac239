//! A file of JSON lines that a run adds to, and that another run reads, however the first one ended.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::FileAction;
use crate::{Error, Result};

/// The file, open at its end.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens a file, or creates it, and returns its text. A last line that was cut off is removed.
    pub fn open(path: &Path) -> Result<(Self, String)> {
        let failed = |err| Error::file(FileAction::Read, path)(err);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(Error::file(FileAction::Create, path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n');
        bytes.truncate(whole.map_or(0, |at| at + 1));
        file.set_len(bytes.len() as u64).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        let text = String::from_utf8(bytes).map_err(|_| Error::Content {
            path: path.to_owned(),
            place: String::new(),
            reason: "it is not UTF-8".to_owned(),
        })?;
        let path = path.to_owned();
        Ok((Self { path, file }, text))
    }

    /// Adds a line.
    pub fn add(&mut self, row: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_string(row)?;
        line.push('\n');
        let written = self.file.write_all(line.as_bytes());
        written.map_err(Error::file(FileAction::Write, &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_off_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j.jsonl");
        let (mut journal, text) = Journal::open(&path).unwrap();
        assert_eq!(text, "");
        journal.add(&serde_json::json!({"a": 1})).unwrap();
        drop(journal);
        let mut cut = std::fs::read(&path).unwrap();
        cut.extend_from_slice(b"{\"a\": 2");
        std::fs::write(&path, cut).unwrap();
        let (mut journal, text) = Journal::open(&path).unwrap();
        assert_eq!(text, "{\"a\":1}\n");
        journal.add(&serde_json::json!({"a": 3})).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\"a\":1}\n{\"a\":3}\n"
        );
    }
}
