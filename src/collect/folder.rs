//! The directory that images are collected in: whole files only, and one run at a time.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::MANIFEST;
use crate::error::{CollectError, FileAction};
use crate::ids::hex;
use crate::{Error, Result};
use sha2::{Digest, Sha256};

const LOCK: &str = ".collect.lock";
/// How names of unfinished files begin.
pub(super) const PART: &str = ".part-";

/// The directory, locked for this run.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Creates the directory if it is not there.
    ///
    /// # Errors
    /// [`CollectError::DirectoryInUse`]; [`Error::File`].
    pub fn open(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).map_err(Error::file(FileAction::Create, path))?;
        let file = path.join(LOCK);
        let lock = File::options()
            .create(true)
            .append(true)
            .open(&file)
            .map_err(Error::file(FileAction::Create, &file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(CollectError::DirectoryInUse {
                    path: path.to_owned(),
                }
                .into());
            }
            // A file system without locks.
            Err(TryLockError::Error(_)) => {}
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn manifest(&self) -> PathBuf {
        self.path.join(MANIFEST)
    }

    /// Path of a file of the directory.
    pub fn at(&self, file: &str) -> PathBuf {
        self.path.join(file)
    }

    /// Writes a file, whole or not at all.
    pub fn write(&self, file: &str, bytes: &[u8]) -> Result<()> {
        let place = self.at(file);
        let parent = place.parent().unwrap_or(&self.path);
        fs::create_dir_all(parent).map_err(Error::file(FileAction::Create, parent))?;
        let mut part = tempfile::Builder::new()
            .prefix(PART)
            .tempfile_in(parent)
            .map_err(Error::file(FileAction::Create, parent))?;
        part.write_all(bytes)
            .map_err(Error::file(FileAction::Write, &place))?;
        readable(part.as_file());
        let kept = part.persist(&place);
        kept.map_err(|err| Error::file(FileAction::Write, &place)(err.error))?;
        Ok(())
    }
}

/// Temporary files are for their owner alone; images are as readable as others that a program writes.
#[cfg(unix)]
fn readable(file: &File) {
    use std::os::unix::fs::PermissionsExt;
    let _ = file.set_permissions(fs::Permissions::from_mode(0o644));
}

#[cfg(not(unix))]
fn readable(_file: &File) {}

/// Name of the folder for images of a label.
pub(super) fn folder_name(label: &str) -> String {
    let plain = |c: char| match c {
        c if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') => c,
        _ => '_',
    };
    let name: String = label.chars().take(80).map(plain).collect();
    if name.starts_with('.') || name.is_empty() {
        format!("_{name}")
    } else {
        name
    }
}

/// A short name for a text: the first 64 bits of its SHA-256, hex.
pub(super) fn short_hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    hex(digest.get(..8).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_make_folders_that_stay_inside() {
        assert_eq!(folder_name("traffic light"), "traffic_light");
        assert_eq!(folder_name("../x"), "_.._x");
        assert_eq!(folder_name("a/b\\c"), "a_b_c");
        assert_eq!(folder_name(""), "_");
        assert_eq!(folder_name("Füchse"), "Füchse");
    }

    #[test]
    fn one_run_at_a_time_writes_to_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = Folder::open(dir.path()).unwrap();
        assert!(Folder::open(dir.path()).is_err());
        first.write("cat/1.txt", b"x").unwrap();
        drop(first);
        assert!(Folder::open(dir.path()).is_ok());
        assert_eq!(fs::read(dir.path().join("cat/1.txt")).unwrap(), b"x");
    }
}
