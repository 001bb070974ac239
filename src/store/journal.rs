//! Journals: files in a store to which lines are appended, each of which is on the disk when the call returns.
//!
//! A commit takes tens of milliseconds and leaves files in every table that it changes, which is too much for a key that
//! somebody presses. What is written here is folded into tables later, many lines in one commit; this module does not
//! know into which. A line is `CHECKSUM CONTENT\n`. The lock on a journal is that of its writer, and the kernel frees it
//! when the writer ends, however it ends: then anybody may fold the journal and remove it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::Store;
use super::disk::{create_directory, sync_directory};
use crate::error::FileAction;
use crate::{Error, Result};

/// The directory of journals in a store.
pub(super) const JOURNALS: &str = "journals";
/// Ending of the names of journals.
const ENDING: &str = "jsonl";
/// Hexadecimal digits of a line's checksum.
const DIGITS: usize = 16;

/// A journal that this process writes.
#[derive(Debug)]
pub(crate) struct JournalFile {
    file: File,
    path: PathBuf,
    /// Length of the complete lines, in bytes.
    length: u64,
    /// Whether half a line may stand at its end.
    is_torn: bool,
}

impl JournalFile {
    /// Whether a store can have journals.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for one that is not a directory.
    pub fn check(store: &Store) -> Result<()> {
        folder(store).map(|_| ())
    }

    /// Creates an empty journal and locks it.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a store that is not a directory; [`Error::File`].
    pub fn create(store: &Store) -> Result<Self> {
        let folder = folder(store)?;
        create_directory(&folder)?;
        let name = format!("{:016x}", fastrand::u64(..));
        let (part, path) = (
            folder.join(format!("{name}.part")),
            folder.join(format!("{name}.{ENDING}")),
        );
        let file = OpenOptions::new()
            .create_new(true)
            .append(true)
            .open(&part)
            .map_err(Error::file(FileAction::Create, &part))?;
        // A journal without a lock is one whose writer has ended, so it is locked before it gets its name.
        file.lock().map_err(Error::file(FileAction::Lock, &part))?;
        fs::rename(&part, &path).map_err(Error::file(FileAction::Create, &path))?;
        sync_directory(&folder)?;
        Ok(Self {
            file,
            path,
            length: 0,
            is_torn: false,
        })
    }

    /// Appends lines: all of them are on the disk when it returns, or, after an error, none count.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn append(&mut self, contents: &[Vec<u8>]) -> Result<()> {
        let mut bytes = Vec::new();
        for content in contents {
            bytes.extend(format!("{:016x} ", xxh3_64(content)).into_bytes());
            bytes.extend(content);
            bytes.push(b'\n');
        }
        let written = self
            .file
            .write_all(&bytes)
            .and_then(|()| self.file.sync_data());
        if let Err(err) = written {
            // What was written of them must not count later, nor stand before the next line.
            self.is_torn = self.file.set_len(self.length).is_err();
            return Err(Error::file(FileAction::Write, &self.path)(err));
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether nothing may be appended to it any more.
    pub fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// Removes it. What it holds must be in the tables.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn remove(self) -> Result<()> {
        fs::remove_file(&self.path).map_err(Error::file(FileAction::Remove, &self.path))
    }
}

/// The journals of a store, whoever writes them.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn journals(store: &Store) -> Result<Vec<PathBuf>> {
    let Some(folder) = store.directory().map(|it| it.join(JOURNALS)) else {
        return Ok(Vec::new());
    };
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(err) => return Err(Error::file(FileAction::List, &folder)(err)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry
            .map_err(Error::file(FileAction::List, &folder))?
            .path();
        if path.extension().is_some_and(|it| it == ENDING) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Takes over a journal whose writer has ended; `None` if it has not, or if somebody else took it over.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn take_over(path: &Path) -> Result<Option<JournalFile>> {
    let file = match OpenOptions::new().append(true).open(path) {
        Ok(file) => file,
        // It is gone, or whoever asks may only read the store.
        Err(err)
            if [
                ErrorKind::NotFound,
                ErrorKind::PermissionDenied,
                ErrorKind::ReadOnlyFilesystem,
            ]
            .contains(&err.kind()) =>
        {
            return Ok(None);
        }
        Err(err) => return Err(Error::file(FileAction::Open, path)(err)),
    };
    match file.try_lock() {
        // Whoever held the lock before may have removed the file.
        Ok(()) if !path.exists() => Ok(None),
        Ok(()) => Ok(Some(JournalFile {
            file,
            path: path.to_owned(),
            length: 0,
            is_torn: false,
        })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(err)) => Err(Error::file(FileAction::Lock, path)(err)),
    }
}

/// The complete lines of a journal; none if it is gone. A line that a writer did not finish was never acknowledged, so it
/// does not count.
///
/// # Errors
/// [`Error::StoreDamaged`] for a line that is not as it was written; [`Error::File`].
pub(crate) fn read_journal(path: &Path) -> Result<Vec<Vec<u8>>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(err) => return Err(Error::file(FileAction::Read, path)(err)),
    };
    lines(&bytes).map_err(|line| Error::StoreDamaged {
        path: path.display().to_string(),
        reason: format!(
            "line {line} is not as it was written; correct or remove the line, then the labels on the others count"
        ),
    })
}

/// The contents of complete lines; the number of the first one that is damaged, if a sound one follows.
fn lines(bytes: &[u8]) -> std::result::Result<Vec<Vec<u8>>, usize> {
    let mut found = Vec::new();
    let mut damaged = None;
    for (at, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let content = line.strip_suffix(b"\n").and_then(content_of);
        match (content, damaged) {
            (None, None) => damaged = Some(at + 1),
            (Some(_), Some(line)) => return Err(line),
            (Some(content), None) => found.push(content.to_vec()),
            (None, Some(_)) => {}
        }
    }
    Ok(found)
}

/// The content of a line, if its checksum is right.
fn content_of(line: &[u8]) -> Option<&[u8]> {
    let (sum, content) = line.split_at_checked(DIGITS)?;
    let content = content.strip_prefix(b" ")?;
    (sum == format!("{:016x}", xxh3_64(content)).as_bytes()).then_some(content)
}

fn folder(store: &Store) -> Result<PathBuf> {
    let directory = store.directory().ok_or_else(|| Error::InvalidOption {
        what: "store to review",
        value: store.uri().to_owned(),
        expected: "a directory of this machine, because keys are saved in a journal there"
            .to_owned(),
    })?;
    Ok(directory.join(JOURNALS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreOptions;

    async fn made() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("store");
        let store = Store::open_or_create(place.to_str().unwrap(), StoreOptions::default()).await;
        (dir, store.unwrap())
    }

    #[tokio::test]
    async fn lines_are_read_as_they_were_appended() {
        let (_dir, store) = made().await;
        assert!(journals(&store).unwrap().is_empty());
        let mut journal = JournalFile::create(&store).unwrap();
        journal
            .append(&[b"{}".to_vec(), b"{\"a\":1}".to_vec()])
            .unwrap();
        journal.append(&[b"{\"b\":2}".to_vec()]).unwrap();
        assert_eq!(journals(&store).unwrap(), [journal.path()]);
        let read = read_journal(journal.path()).unwrap();
        assert_eq!(read, [&b"{}"[..], b"{\"a\":1}", b"{\"b\":2}"]);
        let path = journal.path().to_owned();
        journal.remove().unwrap();
        assert!(journals(&store).unwrap().is_empty());
        assert!(read_journal(&path).unwrap().is_empty());
    }

    #[tokio::test]
    async fn only_a_journal_whose_writer_has_ended_is_taken_over() {
        let (_dir, store) = made().await;
        let journal = JournalFile::create(&store).unwrap();
        let path = journal.path().to_owned();
        assert!(take_over(&path).unwrap().is_none());
        drop(journal);
        let taken = take_over(&path).unwrap().unwrap();
        assert!(take_over(&path).unwrap().is_none(), "it is taken already");
        taken.remove().unwrap();
        assert!(take_over(&path).unwrap().is_none(), "it is gone");
    }

    #[test]
    fn unfinished_lines_do_not_count_and_damaged_ones_are_told() {
        let line = |content: &str| format!("{:016x} {content}\n", xxh3_64(content.as_bytes()));
        let whole = [line("{}"), line("{\"a\":1}")].concat().into_bytes();
        for end in 0..whole.len() {
            let found = lines(&whole[..end]).unwrap();
            assert_eq!(found.len(), usize::from(end >= line("{}").len()), "{end}");
        }
        assert_eq!(lines(&whole).unwrap().len(), 2);
        // Blocks that never reached the disk read as zeros.
        let zeros = [&whole[..], &[0; 50], b"\n"].concat();
        assert_eq!(lines(&zeros).unwrap().len(), 2);
        let mut damaged = whole;
        damaged[18] ^= 1;
        assert_eq!(lines(&damaged), Err(1));
    }
}
