//! A temporary file for numbers that do not fit in memory.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::error::FileAction;
use crate::{Error, Result};

/// A file that is deleted when this is dropped and, on Unix, however the program ends.
#[derive(Debug)]
pub(super) struct TemporaryFile {
    path: PathBuf,
    file: Mutex<File>,
}

impl TemporaryFile {
    /// Creates an empty file in a directory.
    ///
    /// # Errors
    /// [`Error::File`] if the directory cannot be written.
    pub fn create(dir: &Path) -> Result<Self> {
        let name = format!(
            "grainstore-train-{}.{}",
            std::process::id(),
            fastrand::u64(..)
        );
        let path = dir.join(name);
        let open = || {
            let mut options = File::options();
            options.read(true).write(true).create_new(true);
            options.open(&path)
        };
        let file = open().map_err(Error::file(FileAction::Create, &path))?;
        // Nobody else needs the file's name; without one, it disappears with the program, even if that is killed.
        #[cfg(unix)]
        std::fs::remove_file(&path).map_err(Error::file(FileAction::Create, &path))?;
        Ok(Self {
            path,
            file: Mutex::new(file),
        })
    }

    /// Writes bytes at a place, which may be beyond the end.
    ///
    /// # Errors
    /// [`Error::File`], for example for a disk that is full.
    pub fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(|err| err.into_inner());
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.write_all(bytes))
            .map_err(Error::file(FileAction::Write, &self.path))
    }

    /// Reads bytes that were written at a place.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn read(&self, at: u64, bytes: &mut [u8]) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(|err| err.into_inner());
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.read_exact(bytes))
            .map_err(Error::file(FileAction::Read, &self.path))
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if cfg!(not(unix)) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
